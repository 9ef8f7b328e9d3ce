"""Loaders over a few photos."""

from collections.abc import Iterable

import numpy as np

from ghostclas.training.input.images import Batch, TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.training.photos import MemorySource, photos

DEVICES = ["cpu", "cuda"]


def loaded(images: TrainingImages, batches: ShardedBatches, workers: int, device: str = "cpu") -> list[Batch]:
    return list(TrainingLoader(workers=workers, device=device).epoch(images, batches))


def loading() -> Iterable[Batch]:
    images = TrainingImages(MemorySource(photos(classes=2, each=6)), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 6), seed=0, epoch=0), 3)
    return TrainingLoader(workers=3, device="cpu").epoch(images, batches)
