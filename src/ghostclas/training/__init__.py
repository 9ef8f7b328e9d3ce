"""Training (needs torch): from labelled images to a run directory with a bundle in it.

``head`` alone needs no torch: it trains a classifier on frozen features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostclas.training.config import TrainConfig, resolve_config
    from ghostclas.training.head import train_head
    from ghostclas.training.result import Run
    from ghostclas.training.run import train

__all__ = ["Run", "TrainConfig", "resolve_config", "train", "train_head"]

_HOMES = {
    "Run": "result",
    "TrainConfig": "config",
    "resolve_config": "config",
    "train": "run",
    "train_head": "head",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes seconds, and ``train_head`` does without it.
    if name not in _HOMES:
        raise AttributeError(f"module 'ghostclas.training' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ghostclas.training.{_HOMES[name]}"), name)
