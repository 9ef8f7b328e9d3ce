from collections import Counter

import numpy as np
import pytest
import torch

from ghostclas.data.loader import (
    PADDING,
    RankBatches,
    TrainingImages,
    class_weights,
    epoch_tickets,
    training_loader,
)
from ghostclas.data.source import Sample
from ghostclas.data.transforms import AugmentConfig
from tests.training.photos import MemorySource, photos

LABELS = np.array([0] * 30 + [1] * 10 + [2] * 3, dtype=np.int64)


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = (epoch_tickets(LABELS, seed=0, epoch=epoch) for epoch in (0, 1))
    assert sorted(ticket.image for ticket in first) == list(range(len(LABELS)))
    assert [t.image for t in first] != [t.image for t in second]
    assert first == epoch_tickets(LABELS, seed=0, epoch=0)
    assert first != epoch_tickets(LABELS, seed=1, epoch=0)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_every_global_batch_and_nothing_is_lost_or_doubled(world: int) -> None:
    tickets = epoch_tickets(LABELS, seed=0, epoch=0)
    shares = [list(RankBatches(tickets, 12 // world, rank=rank, world=world)) for rank in range(world)]
    steps = list(zip(*shares, strict=True))
    assert all(len(share) == 12 // world for step in steps for share in step)
    flat = [t for step in steps for share in step for t in share if t.image != PADDING]
    assert flat == tickets


def test_a_resumed_epoch_goes_on_with_the_same_batches() -> None:
    tickets = epoch_tickets(LABELS, seed=0, epoch=0)
    whole = list(RankBatches(tickets, 8))
    assert list(RankBatches(tickets, 8, start=2)) == whole[2:]


def test_balanced_sampling_draws_the_classes_equally() -> None:
    tickets = [t for e in range(200) for t in epoch_tickets(LABELS, seed=0, epoch=e, balanced=True)]
    counts = Counter(int(LABELS[ticket.image]) for ticket in tickets)
    assert max(counts.values()) / min(counts.values()) < 1.1


def test_repeated_augmentation_shows_fewer_images_in_several_views() -> None:
    tickets = epoch_tickets(LABELS, seed=0, epoch=0, repeats=3)
    assert len(tickets) == len(LABELS)
    assert set(Counter(ticket.image for ticket in tickets).values()) <= {1, 3}
    assert len({ticket.seed for ticket in tickets}) == len(tickets)


def test_class_weights_balance_the_classes_and_average_to_one() -> None:
    samples = [Sample(str(i), int(label)) for i, label in enumerate(LABELS)]
    weights = class_weights(samples, 4)
    assert weights[3] == 0
    np.testing.assert_allclose(weights[LABELS].mean(), 1)
    np.testing.assert_allclose(np.bincount(LABELS) * weights[:3], len(LABELS) / 3)


def test_views_do_not_depend_on_the_number_of_workers() -> None:
    source = MemorySource(photos(classes=2, each=6))
    tickets = epoch_tickets(np.repeat([0, 1], 6), seed=3, epoch=2)
    images = TrainingImages(source, AugmentConfig(policy="trivialaugment", erasing=0.5), 32)
    batches = [
        torch.cat([b.images for b in training_loader(images, RankBatches(tickets, 4), workers=workers)])
        for workers in (0, 1)
    ]
    assert torch.equal(*batches)
    assert batches[0].dtype == torch.uint8


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_channels_last_and_hold_the_views_in_order(workers: int) -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=3)), AugmentConfig(), 32)
    tickets = epoch_tickets(np.repeat([0, 1], 3), seed=1, epoch=0)
    (batch,) = training_loader(images, RankBatches(tickets, 6), workers=workers)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.images, torch.stack([images[ticket].image for ticket in tickets]))


def test_an_unreadable_image_leaves_a_blank_without_weight() -> None:
    data = photos(classes=2, each=2)
    data["1/0.png"] = b"not an image"
    images = TrainingImages(MemorySource(data), AugmentConfig(), 32)
    tickets = epoch_tickets(np.array([0, 0, 1, 1]), seed=0, epoch=0)
    (batch,) = training_loader(images, RankBatches(tickets, 6), workers=0)
    assert batch.images.shape == (6, 3, 32, 32)
    assert batch.weights.sum() == 3
    assert [image.key for image in batch.bad] == ["1/0.png"]
