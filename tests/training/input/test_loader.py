import multiprocessing
import threading

import numpy as np
import pytest
import torch

from ghostclas.errors import DataError, TrainingError
from ghostclas.training.input import failures
from ghostclas.training.input.images import TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.training.input.loading import DEVICES, loaded
from tests.training.photos import MemorySource, photos


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
