"""Trains in a process of its own that kills itself with SIGKILL at a chosen instant.

    python killed.py CONFIG OUTPUT POINT COUNT [RANK]

``POINT`` is ``step`` (after the weights were updated), ``write`` (a checkpoint is half on disk), ``rename``
(the previous checkpoint was put aside, the new one is not in place) or ``never``; ``COUNT`` says at which
occurrence. Under torchrun only process ``RANK`` kills itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ghostclas.training import checkpoint, ema
from ghostclas.training.config import resolve_config
from ghostclas.training.run import train


def kill_on(owner: Any, name: str, count: int, *, before: Callable[..., None] | None = None) -> None:
    """Replace ``owner.name`` by itself followed by a SIGKILL at call number ``count``."""
    original, calls = getattr(owner, name), [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == count and before:
            before(*args, **kwargs)
        result = None if calls[0] == count and before else original(*args, **kwargs)
        if calls[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def half_written(state: Any, file: Any) -> None:
    """Put the first bytes of a checkpoint on disk."""
    file.write(b"PK\x03\x04 half a checkpoint")
    file.flush()


def main(config: str, output: str, point: str, count: int, rank: str = "0") -> None:
    torch.set_num_threads(1)
    if os.environ.get("RANK", "0") != rank:
        point = "never"
    if point == "step":
        kill_on(ema.EMA, "update", count)
    elif point == "write":
        kill_on(torch, "save", count, before=half_written)
    elif point == "rename":
        kill_on(checkpoint.Path, "replace", count)
    run = Path(output)
    train(config=resolve_config(config, []), output=run, resume=(run / "config.yaml").exists())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
