"""The order of an epoch: every image, for every process, in seeded views."""

from collections import Counter

import numpy as np
import pytest

from ghostclas.data.source import Sample
from ghostclas.training.input.sampling import PADDING, ShardedBatches, class_weights, epoch_indices

LABELS = np.array([0] * 30 + [1] * 10 + [2] * 3, dtype=np.int64)


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = (epoch_indices(LABELS, seed=0, epoch=epoch) for epoch in (0, 1))
    assert sorted(index.image for index in first) == list(range(len(LABELS)))
    assert [t.image for t in first] != [t.image for t in second]
    assert first == epoch_indices(LABELS, seed=0, epoch=0)
    assert first != epoch_indices(LABELS, seed=1, epoch=0)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_every_global_batch_and_nothing_is_lost_or_doubled(world: int) -> None:
    indices = epoch_indices(LABELS, seed=0, epoch=0)
    shares = [list(ShardedBatches(indices, 12 // world, rank=rank, world=world)) for rank in range(world)]
    steps = list(zip(*shares, strict=True))
    assert all(len(share) == 12 // world for step in steps for share in step)
    flat = [t for step in steps for share in step for t in share if t.image != PADDING]
    assert flat == indices


@pytest.mark.parametrize(
    ("images", "world", "sizes"), [(9, 1, [4, 3, 2]), (13, 2, [4, 4, 3, 2]), (8, 1, [4, 4])]
)
def test_no_batch_is_left_with_a_single_image(images: int, world: int, sizes: list[int]) -> None:
    indices = epoch_indices(np.zeros(images, np.int64), seed=0, epoch=0)
    shares = [list(ShardedBatches(indices, 4, rank=rank, world=world)) for rank in range(world)]
    steps = list(zip(*shares, strict=True))
    assert [i for step in steps for share in step for i in share if i.image != PADDING] == indices
    assert [sum(i.image != PADDING for i in share) for step in steps for share in step] == sizes


def test_a_resumed_epoch_goes_on_with_the_same_batches() -> None:
    indices = epoch_indices(LABELS, seed=0, epoch=0)
    whole = list(ShardedBatches(indices, 8))
    assert list(ShardedBatches(indices, 8, start=2)) == whole[2:]


def test_balanced_sampling_draws_the_classes_equally() -> None:
    indices = [t for e in range(200) for t in epoch_indices(LABELS, seed=0, epoch=e, balanced=True)]
    counts = Counter(int(LABELS[index.image]) for index in indices)
    assert max(counts.values()) / min(counts.values()) < 1.1


def test_repeated_augmentation_shows_fewer_images_in_several_views() -> None:
    indices = epoch_indices(LABELS, seed=0, epoch=0, repeats=3)
    assert len(indices) == len(LABELS)
    assert set(Counter(index.image for index in indices).values()) <= {1, 3}
    assert len({index.seed for index in indices}) == len(indices)


def test_class_weights_balance_the_classes_and_average_to_one() -> None:
    samples = [Sample(str(i), int(label)) for i, label in enumerate(LABELS)]
    weights = class_weights(samples, 4)
    assert weights[3] == 0
    np.testing.assert_allclose(weights[LABELS].mean(), 1)
    np.testing.assert_allclose(np.bincount(LABELS) * weights[:3], len(LABELS) / 3)
