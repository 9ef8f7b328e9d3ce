"""Settings that depend on the number of images: those of the recipe for few photos.

They come from trials on clothing photos outside benchmarks/small_data.py, one or two draws each. With 10 of
a class, twice the steps at a higher rate ended below the start itself. With 100, a higher rate with more
epochs ended higher, and larger views higher again; 8e-4 with batch norms whose statistics learn ended lower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, sqrt
from typing import Any, NamedTuple


class Length(NamedTuple):
    """How far a run goes: the side of its views, epochs, and the share of the start in the last average."""

    side: int
    epochs: int
    kept: float


FEW_IMAGES = 500
"""From so many images on, a run goes further from its start."""
FEW, MORE = Length(160, 15, 0.4), Length(192, 15, 0.3)

VIEWS, LEAST_EPOCHS = 20_000, 10
"""Images that are seen in all epochs together, at most, unless the least epochs see more."""

RATE, AT, MOST_RATE = 1e-4, 240, 3e-4
"""The rate for so many images. It falls with the root of a smaller number, and grows with a larger one."""

BATCHES = ((1_000, 16), (2_000, 32))
"""Batch size up to a number of images; above, the last."""

STEPS_BETWEEN_VALIDATIONS = 30
WARMUP_SHARE = 0.05
"""Of the epochs."""


def small(images: int) -> dict[str, Any]:
    """Return the settings of the recipe ``small`` for this many training images, a tree like a recipe's."""
    length = FEW if images < FEW_IMAGES else MORE
    batch = next((size for most, size in BATCHES if images <= most), BATCHES[-1][1])
    steps = max(1, ceil(images / batch))
    epochs = max(LEAST_EPOCHS, min(length.epochs, VIEWS // max(1, images)))
    share = images / AT
    rate = min(RATE * (share if share > 1 else sqrt(share)), MOST_RATE)
    return {
        "data": dict.fromkeys(("resolution", "eval_resolution", "eval_resize"), length.side),
        "optimizer": {"lr": float(f"{rate:.3g}")},
        "schedule": {"epochs": epochs, "warmup_epochs": round(WARMUP_SHARE * epochs, 2)},
        "loop": {
            "batch_size": batch,
            "ema": round(length.kept ** (1 / (steps * epochs)), 7),
            "validate_every": min(max(1, round(STEPS_BETWEEN_VALIDATIONS / steps)), epochs),
        },
    }


FITTED: Mapping[str, Callable[[int], dict[str, Any]]] = {"small": small}
"""Recipes that fit themselves to the number of images, by name."""
