"""Examples and batches."""

import numpy as np
import pytest
import torch

from ghostclas.training.input.images import TrainingImages
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.training.input.loading import DEVICES, loaded
from tests.training.photos import MemorySource, photos


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_channels_last_and_hold_the_views_in_order(workers: int, device: str) -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=3)), AugmentConfig(), 32)
    indices = epoch_indices(np.repeat([0, 1], 3), seed=1, epoch=0)
    (batch,) = loaded(images, ShardedBatches(indices, 6), workers, device)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.images, torch.stack([images[index].image for index in indices]))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_leaves_a_blank_without_weight(workers: int) -> None:
    data = photos(classes=2, each=2)
    data["1/0.png"] = b"not an image"
    images = TrainingImages(MemorySource(data), AugmentConfig(), 32)
    indices = epoch_indices(np.array([0, 0, 1, 1]), seed=0, epoch=0)
    (batch,) = loaded(images, ShardedBatches(indices, 6), workers)
    assert batch.images.shape == (6, 3, 32, 32)
    assert batch.weights.sum() == 3
    assert [image.key for image in batch.bad] == ["1/0.png"]
