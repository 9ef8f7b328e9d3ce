"""Loaders: processes that prepare the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.utils.data import DataLoader

from ghostclas.data.alternating import AlternatingLoader
from ghostclas.data.images import Batch, EvaluationImages, Slot, TrainingImages, collate
from ghostclas.data.tickets import RankBatches


def training_loader(
    images: TrainingImages, batches: RankBatches, *, workers: int, device: str
) -> Iterable[Batch]:
    """Return the loader of one epoch, or of the rest of it.

    Batches for a CPU come from an ``AlternatingLoader``; others are prepared while the ``device`` computes.
    Without ``workers``, this process prepares them.
    """
    if device == "cpu" and workers:
        return AlternatingLoader(images, batches, workers=workers)
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


def evaluation_loader(
    images: EvaluationImages, *, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Slot]:
    """Return a loader over this process' share of the images: every image in exactly one process."""
    return DataLoader(
        images,
        sampler=range(rank, len(images), world),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )
