"""Files of weights for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def saved(state: Mapping[str, Any], path: Path) -> Path:
    """Write ``state`` as the ending of ``path`` says, and return ``path``."""
    save_file(dict(state), path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path
