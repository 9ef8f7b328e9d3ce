"""The order of an epoch: the sequence of images, and the seed of each random view.

All of it is a function of ``(seed, epoch, position)``. It does not depend on the number of workers or
processes, nor on a stop and a resume within an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

PADDING = -1
# PyTorch refuses batch norm over a single image, which has no variance.
LEAST_IMAGES = 2
Balance = Literal["none", "sampler", "loss"]


class SeededIndex(NamedTuple):
    """Which image (``PADDING`` for none), and the seed of its view."""

    image: int
    seed: int


def class_weights(samples: Sequence[tuple[str, int]], num_classes: int) -> npt.NDArray[np.float64]:
    """Return one weight per class, inversely proportional to its count, with mean 1 over the images."""
    counts = np.bincount([label for _, label in samples], minlength=num_classes)
    return np.where(counts > 0, len(samples) / (np.maximum(counts, 1) * np.count_nonzero(counts)), 0.0)


def epoch_indices(
    labels: npt.NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    balanced: bool = False,
    repeats: int = 1,
    view_seeds: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.int64] | None] | None = None,
) -> list[SeededIndex]:
    """Return one epoch: as many indices as there are images.

    Each image comes once, unless ``balanced`` draws every class equally often, with replacement, or
    ``repeats`` shows fewer images more often. ``view_seeds(images, epoch)`` may prescribe the views.
    """
    draw = np.random.default_rng([seed, epoch])
    count = len(labels)
    if balanced:
        chance = 1.0 / np.bincount(labels)[labels]
        order = draw.choice(count, size=count, p=chance / chance.sum())
    else:
        order = draw.permutation(count)
    if repeats > 1:
        order = np.repeat(order[: -(-count // repeats)], repeats)[:count]
    prescribed = view_seeds(order, epoch) if view_seeds else None
    seeds = draw.integers(0, 2**62, size=count) if prescribed is None else prescribed
    return [SeededIndex(int(index), int(view)) for index, view in zip(order, seeds, strict=True)]


class ShardedBatches(Sampler[list[SeededIndex]]):
    """The batches of one process: its equal share of every global batch, from step ``start`` on.

    Step ``s`` takes the indices from ``s * world * size`` on, whatever the number of processes; the last
    batch is filled up with padding. If only one image is left for a share, the share before gives it another.
    """

    def __init__(
        self, indices: list[SeededIndex], size: int, *, rank: int = 0, world: int = 1, start: int = 0
    ):
        if len(indices) > size > LEAST_IMAGES and len(indices) % size == 1:
            indices = [*indices[:-2], SeededIndex(PADDING, 0), *indices[-2:]]
        self.indices, self.size, self.rank, self.world, self.start = indices, size, rank, world, start

    def __len__(self) -> int:
        return max(0, -(-len(self.indices) // (self.size * self.world)) - self.start)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        for step in range(self.start, self.start + len(self)):
            begin = (step * self.world + self.rank) * self.size
            batch = self.indices[begin : begin + self.size]
            yield batch + [SeededIndex(PADDING, 0)] * (self.size - len(batch))
