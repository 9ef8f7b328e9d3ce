"""A small cache of logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.ssld.cache import LogitCache

TEACHER = {"teacher": "somebody", "digest": "ab" * 32, "outputs": 4, "view": {"crop": 64}}


def opened(folder: Path, **changes: Any) -> LogitCache:
    return LogitCache.open(folder, **{**TEACHER, **changes})


def rows(count: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    draw = np.random.default_rng(seed)
    keys = draw.integers(0, 256, (count, 32), dtype=np.uint8)
    return keys, {"logits": draw.normal(size=(count, 4)).astype(np.float16)}
