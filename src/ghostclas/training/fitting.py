"""Settings that depend on the number of images: those of the recipe for few photos.

They come from trials with clothing photos, measured on photos that benchmarks/small_data.py leaves out. With
240 images, a run that stays near its start ended higher than one that goes far; with 445 and 900 it ended
lower. For the latter, closer crops and the classifier of ``model.fit_head`` cost points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, sqrt
from typing import Any

MANY = 400
"""From so many images on, a run goes far from its start."""

VIEWS = 20_000
"""Images that are seen in all epochs together, at most, unless the least epochs see more."""

BATCHES = ((1_000, 16), (2_000, 32))
"""Batch size up to a number of images; above, the last."""

NEAR_SIDE, NEAR_EPOCHS = 160, 15
NEAR_RATE, AT = 1e-4, 240
"""The rate for so many images. It falls with the root of a smaller number, and grows with a larger one."""
KEPT = 0.4
"""The share of the start in the average of the weights at the end."""
STEPS_BETWEEN_VALIDATIONS = 30
WARMUP_SHARE = 0.05
"""Of the epochs."""

FAR_SIDE, FAR_EPOCHS = 192, (10, 20)
"""The least epochs and the most."""


def small(images: int) -> dict[str, Any]:
    """Return the settings of the recipe ``small`` for this many training images, a tree like a recipe's."""
    batch = next((size for most, size in BATCHES if images <= most), BATCHES[-1][1])
    return _near(images, batch) if images < MANY else _far(images, batch)


def _near(images: int, batch: int) -> dict[str, Any]:
    steps = max(1, ceil(images / batch))
    share = images / AT
    return {
        "data": _size(NEAR_SIDE),
        "optimizer": {"lr": float(f"{NEAR_RATE * (share if share > 1 else sqrt(share)):.3g}")},
        "schedule": {"epochs": NEAR_EPOCHS, "warmup_epochs": round(WARMUP_SHARE * NEAR_EPOCHS, 2)},
        "loop": {
            "batch_size": batch,
            "ema": round(KEPT ** (1 / (steps * NEAR_EPOCHS)), 7),
            "validate_every": min(max(1, round(STEPS_BETWEEN_VALIDATIONS / steps)), NEAR_EPOCHS),
        },
    }


def _far(images: int, batch: int) -> dict[str, Any]:
    """As benchmarks/small_data_side.py trains with timm, but for smaller views and crops less close."""
    least, most = FAR_EPOCHS
    return {
        "model": {"fit_head": False, "freeze_statistics": "pooled"},
        "data": _size(FAR_SIDE),
        "augment": {"color_jitter": 0.4},
        "optimizer": {"lr": 1e-3},
        "schedule": {"epochs": max(least, min(most, VIEWS // images)), "warmup_epochs": 2},
        "loop": {
            "batch_size": batch,
            "label_smoothing": 0.1,
            "ema": 0.99,
            "ema_warmup": True,
            "validate_every": 1,
        },
    }


def _size(side: int) -> dict[str, int]:
    return dict.fromkeys(("resolution", "eval_resolution", "eval_resize"), side)


FITTED: Mapping[str, Callable[[int], dict[str, Any]]] = {"small": small}
"""Recipes that fit themselves to the number of images, by name."""
