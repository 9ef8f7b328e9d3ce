"""Similar photos: the right order, and an index that is renewed where it must be and nowhere else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ghostclas
from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError, DataError, UsageError
from ghostclas.imaging import ImageSource
from ghostclas.prediction import Classifier
from ghostclas.prediction.similar import FOLDER, PhotoIndex
from tests.colours import colour_bundle
from tests.images import encode, photo


class Counting(Classifier):
    """A classifier that knows which photos it was asked to compute."""

    seen: list[str]

    def stream_features(self, sources: object) -> Iterator[object]:  # type: ignore[override]
        self.seen = []

        def counted() -> Iterator[ImageSource]:
            for source in sources:  # type: ignore[attr-defined]
                self.seen.append(source.name if isinstance(source, Path) else "bytes")
                yield source

        return super().stream_features(counted())


@pytest.fixture(scope="module")
def classifier() -> Iterator[Counting]:
    with Counting.load(engine="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos of three kinds in two labels, one of them in ``val``, and one file that is no photo."""
    root = tmp_path / "photos"
    for number, name in enumerate(("train/a/0", "train/a/1", "train/b/0", "train/b/1", "val/a/2", "top")):
        file = root / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(photo(160, 120, number), "JPEG"))
    (root / "train" / "a" / "bad.jpg").write_bytes(b"no image")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_the_same_picture_comes_first_and_the_order_is_that_of_the_cosine(
    classifier: Counting, folder: Path, cache: Path
) -> None:
    index = PhotoIndex.open(classifier, folder, cache=cache)
    assert len(index.files) == 6
    assert set(index.bad) == {"train/a/bad.jpg"}
    labels = {file: index.label(row) for row, file in enumerate(index.files)}
    assert labels == {
        "train/a/0.jpg": "a",
        "train/a/1.jpg": "a",
        "train/b/0.jpg": "b",
        "train/b/1.jpg": "b",
        "val/a/2.jpg": "a",
        "top.jpg": None,
    }
    copy = encode(photo(160, 120, 2), "JPEG")
    (found,) = index.nearest([copy], top=10)
    assert found.similar[0].file == str(folder / "train" / "b" / "0.jpg")
    assert found.similar[0].similarity == pytest.approx(1, abs=1e-3)
    rows = classifier.embed([copy, *(folder / file for file in index.files)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = np.argsort(-(rows[1:] @ rows[0]), kind="stable")
    assert [photo.file for photo in found.similar] == [str(folder / index.files[row]) for row in order]
    np.testing.assert_allclose(
        [photo.similarity for photo in found.similar], np.sort(rows[1:] @ rows[0])[::-1], atol=1e-3
    )


def test_a_photo_of_the_index_does_not_find_itself_and_a_bad_one_has_an_error(
    classifier: Counting, folder: Path, cache: Path
) -> None:
    index = PhotoIndex.open(classifier, folder, cache=cache)
    own, bad = index.nearest([folder / "top.jpg", folder / "train" / "a" / "bad.jpg"], top=10)
    assert len(own.similar) == 5
    assert str(folder / "top.jpg") not in [photo.file for photo in own.similar]
    assert bad.error is not None
    assert (bad.error.code, bad.similar) == ("not_an_image", ())
    with pytest.raises(UsageError, match="top must be"):
        list(index.nearest([], top=0))


def test_only_what_changed_is_computed_again(classifier: Counting, folder: Path, cache: Path) -> None:
    first = PhotoIndex.open(classifier, folder, cache=cache)
    assert len(classifier.seen) == 7
    again = PhotoIndex.open(classifier, folder, cache=cache)
    assert classifier.seen == ["bad.jpg"]
    assert again.files == first.files
    np.testing.assert_array_equal(again.features, first.features)
    (folder / "train" / "a" / "0.jpg").write_bytes(encode(photo(160, 120, 9), "JPEG"))
    (folder / "train" / "b" / "2.jpg").write_bytes(encode(photo(160, 120, 10), "JPEG"))
    (folder / "top.jpg").unlink()
    changed = PhotoIndex.open(classifier, folder, cache=cache)
    assert sorted(classifier.seen) == ["0.jpg", "2.jpg", "bad.jpg"]
    assert "top.jpg" not in changed.files
    plain = PhotoIndex.open(classifier, folder, cache=cache.with_name("other"))
    assert changed.files == plain.files
    np.testing.assert_array_equal(changed.features, plain.features)


def test_another_model_has_an_index_of_its_own(
    classifier: Counting, small_bundle: Bundle, folder: Path, cache: Path
) -> None:
    PhotoIndex.open(classifier, folder, cache=cache)
    with Counting.load(small_bundle, engine="onnxruntime", threads=1) as other:
        assert PhotoIndex.open(other, folder, cache=cache).computed == 7
    assert PhotoIndex.open(classifier, folder, cache=cache).computed == 1
    assert len(list((cache / FOLDER).iterdir())) == 2


def test_an_interrupted_index_keeps_what_is_done_and_a_damaged_one_is_made_anew(
    classifier: Counting, folder: Path, cache: Path
) -> None:
    def stop(done: int, total: int | None) -> None:
        assert total == 7
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PhotoIndex.open(classifier, folder, cache=cache, progress=stop)
    index = PhotoIndex.open(classifier, folder, cache=cache)
    assert 0 < index.computed < 7
    (place,) = (cache / FOLDER).iterdir()
    whole = place.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"x" * 100, whole[:8] + b"{" * 20 + whole[28:]):
        place.write_bytes(damaged)
        again = PhotoIndex.open(classifier, folder, cache=cache)
        assert again.computed == 7
        np.testing.assert_array_equal(again.features, index.features)
    assert place.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_said_and_does_not_matter(
    classifier: Counting, folder: Path, cache: Path
) -> None:
    cache.write_text("a file where the cache folder would be", encoding="utf-8")
    before = sorted(os.walk(folder))
    index = PhotoIndex.open(classifier, folder, cache=cache)
    assert index.unkept is not None
    assert len(index.files) == 6
    assert sorted(os.walk(folder)) == before, "the folder of photos stays as it is"


def test_what_is_refused(classifier: Counting, folder: Path, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match="no folder of photos"):
        PhotoIndex.open(classifier, folder / "top.jpg", cache=cache)
    shutil.copytree(folder / "train" / "a", tmp_path / "bad", ignore=shutil.ignore_patterns("[01].jpg"))
    with pytest.raises(DataError, match=r"no photo in .* that can be read: bad.jpg: "):
        PhotoIndex.open(classifier, tmp_path / "bad", cache=cache)
    with (
        ghostclas.load(colour_bundle(tmp_path / "colours"), threads=1) as without,
        pytest.raises(BundleError, match="no features output"),
    ):
        PhotoIndex.open(without, folder, cache=cache)
