import multiprocessing
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas.data.source import Sample
from ghostclas.errors import DataError, TrainingError
from ghostclas.training.input import failures
from ghostclas.training.input.images import Batch, TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import PADDING, ShardedBatches, class_weights, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.training.photos import MemorySource, photos

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


DEVICES = ["cpu", "cuda"]


def loaded(images: TrainingImages, batches: ShardedBatches, workers: int, device: str = "cpu") -> list[Batch]:
    return list(TrainingLoader(workers=workers, device=device).epoch(images, batches))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers_nor_on_what_they_are_for(workers: int, device: str) -> None:
    data = photos(classes=2, each=7)
    data["1/0.png"] = b"not an image"
    images = TrainingImages(MemorySource(data), AugmentConfig(policy="trivialaugment", erasing=0.5), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 7), seed=3, epoch=2), 4)
    plain, others = (loaded(images, batches, number, device) for number in (0, workers))
    assert len(plain) == len(others) == 4
    for one, other in zip(plain, others, strict=True):
        assert one.bad == other.bad
        for name in ("images", "labels", "weights", "indices"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_channels_last_and_hold_the_views_in_order(workers: int, device: str) -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=3)), AugmentConfig(), 32)
    indices = epoch_indices(np.repeat([0, 1], 3), seed=1, epoch=0)
    (batch,) = loaded(images, ShardedBatches(indices, 6), workers, device)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.images, torch.stack([images[index].image for index in indices]))


@pytest.mark.parametrize("stop_early", [False, True])
def test_a_gpu_s_workers_stay_from_epoch_to_epoch_and_show_what_new_ones_would(stop_early: bool) -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=7)), AugmentConfig(), 32)
    epochs = [
        ShardedBatches(epoch_indices(np.repeat([0, 1], 7), seed=3, epoch=epoch), 4, start=epoch)
        for epoch in range(3)
    ]
    loader = TrainingLoader(workers=2, device="cuda")
    pools = []
    for batches in epochs:
        for number, (kept, new) in enumerate(
            zip(loader.epoch(images, batches), loaded(images, batches, 0), strict=True)
        ):
            assert torch.equal(kept.images, new.images)
            assert torch.equal(kept.indices, new.indices)
            if stop_early and number == 1:
                break
        pools.append({process.pid for process in multiprocessing.active_children()})
    assert len(pools[0]) == 2
    assert pools[0] == pools[1] == pools[2]
    loader.close()
    assert not multiprocessing.active_children()


def test_a_gpu_s_workers_are_replaced_when_the_resolution_changes() -> None:
    loader = TrainingLoader(workers=2, device="cuda")
    pools = []
    for side in (32, 48):
        images = TrainingImages(MemorySource(photos(classes=2, each=3)), AugmentConfig(), side)
        (batch,) = loader.epoch(
            images, ShardedBatches(epoch_indices(np.repeat([0, 1], 3), seed=1, epoch=0), 6)
        )
        assert batch.images.shape == (6, 3, side, side)
        pools.append({process.pid for process in multiprocessing.active_children()})
    assert [len(workers) for workers in pools] == [2, 2]
    assert not pools[0] & pools[1]
    loader.close()


def test_more_workers_than_images_in_a_batch_are_no_trouble() -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=2)), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 2), seed=1, epoch=0), 2)
    few, many = (torch.cat([batch.images for batch in loaded(images, batches, n)]) for n in (1, 3))
    assert torch.equal(few, many)


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


class _Refusing(MemorySource):
    """A source whose storage fails at one image, for a reason to tell or for one that nobody expects."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__(photos(classes=2, each=6))
        self.error = error

    def read(self, index: int) -> bytes:
        if index == 8:
            raise self.error("the archive was changed")
        return super().read(index)


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_source_refuses_is_raised_where_the_batches_are_used(device: str) -> None:
    images = TrainingImages(_Refusing(DataError), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 6), seed=0, epoch=0), 2)
    with pytest.raises(DataError) as caught:
        loaded(images, batches, 2, device)
    assert str(caught.value) == "the archive was changed", "without the traceback of the process"
    # Those for a GPU end with their loader.
    assert device == "cuda" or not multiprocessing.active_children()


def test_a_worker_that_fails_unexpectedly_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    images = TrainingImages(_Refusing(ZeroDivisionError), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 6), seed=0, epoch=0), 2)
    with pytest.raises(TrainingError, match=r"worker died: process \d+ ended with exit code 1"):
        loaded(images, batches, 2)
    assert "the archive was changed" in capfd.readouterr().err


class _Silent(MemorySource):
    """A source whose storage does not answer."""

    def read(self, index: int) -> bytes:
        threading.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("device", DEVICES)
def test_storage_that_does_not_answer_is_an_error(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    images = TrainingImages(_Silent(photos(classes=2, each=2)), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.array([0, 0, 1, 1]), seed=0, epoch=0), 2)
    with pytest.raises(TrainingError, match=r"no batch came from the data loader in 0.2 seconds"):
        loaded(images, batches, 1, device)


def test_stopping_in_the_middle_of_an_epoch_ends_the_workers() -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=6)), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 6), seed=0, epoch=0), 2)
    for _ in TrainingLoader(workers=2, device="cpu").epoch(images, batches):
        assert len(multiprocessing.active_children()) == 2
        break
    assert not multiprocessing.active_children()


def test_workers_end_when_the_training_process_is_killed() -> None:
    code = """
import multiprocessing, os, signal
from tests.training.input.test_loader import loading
for batch in loading():
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 20
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, pids))


def loading() -> Iterable[Batch]:
    images = TrainingImages(MemorySource(photos(classes=2, each=6)), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 6), seed=0, epoch=0), 3)
    return TrainingLoader(workers=3, device="cpu").epoch(images, batches)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
