"""Settings that depend on the number of images: those of the recipe for few photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

STEPS = 600
"""Steps that a run on few images has: 15 epochs of 240 images in batches of 64 would be 60."""

EPOCHS = (20, 60)
"""Where the steps would need more epochs, more of them teach such a folder nothing new."""

BATCHES = ((640, 16), (2_000, 32))
"""Batch size up to a number of images; above, the last."""

STEPS_BETWEEN_VALIDATIONS = 30
START_SHARE = 0.05
"""Of the epochs: the warm-up."""


def small(images: int) -> dict[str, Any]:
    """Return the settings of the recipe ``small`` for this many training images, a tree like a recipe's."""
    batch = next((size for most, size in BATCHES if images <= most), BATCHES[-1][1])
    steps = max(1, ceil(images / batch))
    epochs = min(max(ceil(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    return {
        "schedule": {"epochs": epochs, "warmup_epochs": round(START_SHARE * epochs, 2)},
        "loop": {"batch_size": batch, "validate_every": max(1, round(STEPS_BETWEEN_VALIDATIONS / steps))},
    }


FITTED: Mapping[str, Callable[[int], dict[str, Any]]] = {"small": small}
"""Recipes that fit themselves to the number of images, by name."""
