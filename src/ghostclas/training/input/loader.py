"""Loaders: processes that prepare the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Sampler

from ghostclas.training.input import failures
from ghostclas.training.input.alternating import AlternatingLoader
from ghostclas.training.input.failures import loader_failures_explained
from ghostclas.training.input.images import Batch, EvaluationImages, Example, TrainingImages, collate
from ghostclas.training.input.sampling import SeededIndex, ShardedBatches
from ghostclas.training.input.shared_memory import LoaderPlan, SharedMemory

_TRAINING_PREFETCH, _EVALUATION_PREFETCH = 4, 2


class TrainingLoader:
    """Loads the batches of one epoch after another; ``workers`` processes prepare them.

    Batches for a CPU come from an ``AlternatingLoader``. For other devices, processes prepare batches while
    the ``device`` computes. They stay from epoch to epoch as long as the images are the same, because a GPU
    may finish a small data set before new processes have started. Without ``workers``, or if ``memory`` does
    not suffice, this process prepares the batches.
    """

    def __init__(self, *, workers: int, device: str, memory: SharedMemory | None = None) -> None:
        self.workers, self.device, self.memory = workers, device, memory or SharedMemory()
        self._upcoming = _Upcoming()
        self._kept: DataLoader[Example] | None = None

    def epoch(self, images: TrainingImages, batches: ShardedBatches) -> Iterator[Batch]:
        """Yield the batches of one epoch or of its rest. This ends the epoch before, if any.

        Raises:
            TrainingError: a process died or does not answer, or the shared memory is full.
            GhostclasError: what the source raised.
        """
        with loader_failures_explained():
            yield from self._batches(images, batches)

    def close(self) -> None:
        """End the processes."""
        self._kept = None

    def _batches(self, images: TrainingImages, batches: ShardedBatches) -> Iterator[Batch]:
        batch_bytes = _batch_bytes(batches.size, images.resolution)
        if self.device == "cpu" and self.workers and self.memory.holds(self.workers, batch_bytes):
            yield from AlternatingLoader(images, batches, workers=self.workers)
            return
        self._upcoming.batches = batches
        if self._kept is None or self._kept.dataset is not images:
            # Processes that prepared other images hold shared memory until they end.
            self._kept = None
            workers = 0 if self.device == "cpu" else self.workers
            plan = self.memory.plan(workers, batch_bytes, prefetch=_TRAINING_PREFETCH)
            self._kept = DataLoader(
                images,
                batch_sampler=self._upcoming,
                num_workers=plan.workers,
                collate_fn=collate,
                pin_memory=torch.cuda.is_available(),
                prefetch_factor=plan.prefetch if plan.workers else None,
                persistent_workers=plan.workers > 0,
                timeout=_timeout(plan),
            )
        yield from self._kept


class _Upcoming(Sampler[list[SeededIndex]]):
    """The batches of the next epoch; a ``DataLoader`` asks for them when it begins one."""

    batches: ShardedBatches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        return iter(self.batches)


def evaluation_batches(
    images: EvaluationImages,
    *,
    batch_size: int,
    workers: int,
    memory: SharedMemory,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Yield this process' share of the images in batches; each image is in exactly one process.

    Raises:
        TrainingError: a process died or does not answer, or the shared memory is full.
        GhostclasError: what the source raised.
    """
    batch_bytes = _batch_bytes(batch_size, images.preprocess.crop)
    plan = memory.plan(workers, batch_bytes, prefetch=_EVALUATION_PREFETCH)
    with loader_failures_explained():
        yield from DataLoader(
            images,
            sampler=range(rank, len(images), world),
            batch_size=batch_size,
            num_workers=plan.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=plan.prefetch if plan.workers else None,
            timeout=_timeout(plan),
        )


def _batch_bytes(images: int, side: int) -> int:
    return images * 3 * side * side


def _timeout(plan: LoaderPlan) -> float:
    return failures.STUCK_SECONDS if plan.workers else 0
