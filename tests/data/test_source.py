"""Every form of storage gives the same samples."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas.data import Sample, Source, open_source
from ghostclas.data.source import Samples
from ghostclas.training.input.images import Batch, TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.data.stored import CLASSES, contents, in_parquet, in_shards, in_zip
from tests.data.trees import list_folder, zip_folder


def in_wrapped_zip(photos: Path, place: Path) -> Path:
    return zip_folder(photos, place / "wrapped.zip", prefix="photos-v2/")


def in_list(photos: Path, place: Path) -> Path:
    (place / "label_list.txt").write_text("0 ant\n1 bee\n2 cat\n")
    # The list lies elsewhere: its paths begin with the name of the folder.
    listed = list_folder(photos, place / "images.txt", CLASSES)
    (place / "photos").symlink_to(photos, target_is_directory=True)
    return listed


STORAGE = [in_zip, in_wrapped_zip, in_list, in_shards, in_parquet]


def stored(store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path) -> Source:
    """Store ``photos`` that way and open what was stored."""
    place = tmp_path / "place"
    place.mkdir()
    path = store(photos, place)
    return open_source(path, root=photos) if store is in_list else open_source(path)


@pytest.mark.parametrize("store", STORAGE)
def test_the_same_images_are_the_same_samples_in_every_storage(
    store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path
) -> None:
    source = stored(store, photos, tmp_path)
    assert contents(source) == contents(open_source(photos))
    assert list(source.classes) == CLASSES


def batches(source: Source) -> list[Batch]:
    images = TrainingImages(source, AugmentConfig(policy="trivialaugment"), 32)
    indices = epoch_indices(np.array([sample.label for sample in source.samples]), seed=0, epoch=0)
    return list(TrainingLoader(workers=0, device="cpu").epoch(images, ShardedBatches(indices, 5)))


@pytest.mark.parametrize("store", STORAGE)
def test_the_same_images_are_the_same_batches_in_every_storage(
    store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path
) -> None:
    source = stored(store, photos, tmp_path)
    found, expected = batches(source), batches(open_source(photos))
    assert len(found) == 3
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)


# Python 3.12 and later warn of forks in a process that has threads; workers of a loader are forked just so.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("store", STORAGE)
def test_a_source_can_be_pickled_and_read_by_threads_and_forks(
    store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path
) -> None:
    source = stored(store, photos, tmp_path)
    expected = [source.read(i) for i in range(len(source.samples))]
    copy = pickle.loads(pickle.dumps(source))
    indices = list(range(len(expected))) * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(copy.read, indices)) == [expected[i] for i in indices]
    if store is in_parquet:  # Arrow's own threads do not survive a fork; its users start workers by spawn
        return
    with multiprocessing.get_context("fork").Pool(4) as workers:
        assert workers.map(source.read, indices, chunksize=1) == [expected[i] for i in indices]


def test_samples_behave_like_a_list_of_pairs() -> None:
    pairs = [("a/1.jpg", 0), ("b/é.png", 1), (os.fsdecode(b"b/\xff.png"), 1)]
    samples = Samples(pairs)
    assert list(samples) == [Sample(*pair) for pair in pairs]
    assert samples[-1] == Sample(*pairs[-1])
    assert samples[1:] == Samples(pairs[1:])
    assert samples == pickle.loads(pickle.dumps(samples))
    assert samples != Samples(pairs[:2])
    assert samples.labels.tolist() == [0, 1, 1]
    with pytest.raises(IndexError):
        samples[3]
    with pytest.raises(ValueError, match="read-only"):
        samples.labels[0] = 5
