"""Settings that depend on the number of images: those of the recipe for few photos.

They come from trials on clothing photos outside benchmarks/small_data.py, one or two draws each. With 10 of a
class, twice the steps at a higher rate ended below the start itself; with 100, the higher rate ended higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, sqrt
from typing import Any

STEPS = 400
"""Steps that a run has, where ``EPOCHS`` allows it."""

EPOCHS = (10, 15)

RATE, AT = 1e-4, 240
"""The rate for so many images. It grows with the root of their number, as they say more than the start."""

BATCHES = ((1_000, 16), (2_000, 32))
"""Batch size up to a number of images; above, the last."""

KEPT = 0.4
"""The share of the weights of the start in the average at the end."""

STEPS_BETWEEN_VALIDATIONS = 30
WARMUP_SHARE = 0.05
"""Of the epochs."""


def small(images: int) -> dict[str, Any]:
    """Return the settings of the recipe ``small`` for this many training images, a tree like a recipe's."""
    batch = next((size for most, size in BATCHES if images <= most), BATCHES[-1][1])
    steps = max(1, ceil(images / batch))
    epochs = min(max(ceil(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    return {
        "optimizer": {"lr": float(f"{RATE * sqrt(images / AT):.3g}")},
        "schedule": {"epochs": epochs, "warmup_epochs": round(WARMUP_SHARE * epochs, 2)},
        "loop": {
            "batch_size": batch,
            "ema": round(KEPT ** (1 / (steps * epochs)), 7),
            "validate_every": min(max(1, round(STEPS_BETWEEN_VALIDATIONS / steps)), epochs),
        },
    }


FITTED: Mapping[str, Callable[[int], dict[str, Any]]] = {"small": small}
"""Recipes that fit themselves to the number of images, by name."""
