"""Loaders: processes that prepare the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import DataLoader, Sampler

from ghostclas.training.input.alternating import AlternatingLoader
from ghostclas.training.input.images import Batch, EvaluationImages, Example, TrainingImages, collate
from ghostclas.training.input.sampling import SeededIndex, ShardedBatches


class TrainingLoader:
    """Loads the batches of one epoch after another, prepared by as many processes as there are ``workers``.

    Batches for a CPU come from an ``AlternatingLoader``; others are prepared while the ``device`` computes,
    by processes that stay from epoch to epoch as long as the images are the same: a GPU may be through with a
    small data set before new ones have started. Without ``workers``, this process prepares the batches.
    """

    def __init__(self, *, workers: int, device: str) -> None:
        self.workers, self.device = workers, device
        self._upcoming = _Upcoming()
        self._kept: DataLoader[Example] | None = None

    def epoch(self, images: TrainingImages, batches: ShardedBatches) -> Iterable[Batch]:
        """Return the batches of one epoch, or of the rest of it. The epoch before, if any, is over then."""
        if self.device == "cpu" and self.workers:
            return AlternatingLoader(images, batches, workers=self.workers)
        self._upcoming.batches = batches
        if self._kept is None or self._kept.dataset is not images:
            self._kept = DataLoader(
                images,
                batch_sampler=self._upcoming,
                num_workers=self.workers,
                collate_fn=collate,
                pin_memory=torch.cuda.is_available(),
                prefetch_factor=4 if self.workers else None,
                persistent_workers=self.workers > 0,
            )
        return self._kept

    def close(self) -> None:
        """End the processes."""
        self._kept = None


class _Upcoming(Sampler[list[SeededIndex]]):
    """The batches of the epoch that comes next; a ``DataLoader`` asks for them when it begins one."""

    batches: ShardedBatches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        return iter(self.batches)


def evaluation_loader(
    images: EvaluationImages, *, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Example]:
    """Return a loader over this process' share of the images: every image in exactly one process."""
    return DataLoader(
        images,
        sampler=range(rank, len(images), world),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )
