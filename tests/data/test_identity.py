"""The identity of a source: the same for the same list of images, and a difference is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostclas.data import Fingerprint, Subset, explain_difference, fingerprint, open_source
from tests.data.trees import make_folder, zip_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "set", {"a_red": 3, "c_green": 2, "d_blue": 4})


def test_the_same_images_have_the_same_fingerprint_wherever_they_are_stored(
    photos: Path, tmp_path: Path
) -> None:
    found = fingerprint(open_source(photos))
    assert found == fingerprint(open_source(zip_folder(photos, tmp_path / "set.zip")))
    assert (found.classes, found.images, found.images_per_class) == (
        ("a_red", "c_green", "d_blue"),
        9,
        (3, 2, 4),
    )
    assert explain_difference(found, found) is None


def test_a_fingerprint_goes_through_json(photos: Path) -> None:
    found = fingerprint(open_source(photos))
    assert Fingerprint.model_validate(json.loads(json.dumps(found.model_dump()))) == found


def test_a_subset_with_all_images_is_the_same_source(photos: Path) -> None:
    import numpy as np

    source = open_source(photos)
    assert fingerprint(Subset(source, np.arange(9))) == fingerprint(source)
    assert fingerprint(Subset(source, np.arange(9)[::-1])) != fingerprint(source)


def renamed_class(root: Path) -> None:
    (root / "d_blue").rename(root / "a_blue")


def added_class(root: Path) -> None:
    make_folder(root, {"b_grey": 2})


def removed_images(root: Path) -> None:
    (root / "d_blue/000.jpg").unlink()
    (root / "d_blue/001.jpg").unlink()


def moved_image(root: Path) -> None:
    (root / "d_blue/000.jpg").rename(root / "c_green/moved.jpg")


def renamed_image(root: Path) -> None:
    (root / "d_blue/000.jpg").rename(root / "d_blue/other.jpg")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (renamed_class, "gone: the class 'd_blue'; new: the class 'a_blue'"),
        (added_class, "new: the class 'b_grey'; 11 images instead of 9"),
        (removed_images, "7 images instead of 9; images of 'd_blue': 2 instead of 4"),
        (moved_image, "images of 'c_green': 3 instead of 2, 'd_blue': 3 instead of 4"),
        (renamed_image, "the same number of images (9), but other files, labels or another order"),
    ],
)
def test_a_difference_is_explained_by_name(
    change: Callable[[Path], None], expected: str, photos: Path
) -> None:
    before = fingerprint(open_source(photos))
    change(photos)
    assert explain_difference(before, fingerprint(open_source(photos))) == expected


def test_other_indices_of_the_same_classes_are_a_difference() -> None:
    old = Fingerprint(classes=("a", "b"), label_hash="x", images=3, images_per_class=(1, 2), files="f")
    new = Fingerprint(classes=("b", "a"), label_hash="y", images=3, images_per_class=(2, 1), files="g")
    assert explain_difference(old, new) == "the classes are in another order"


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_names_that_are_not_utf8_have_a_fingerprint_too(photos: Path) -> None:
    before = fingerprint(open_source(photos))
    (photos / "a_red/000.jpg").rename(os.fsdecode(bytes(photos) + b"/a_red/caf\xe9.jpg"))
    assert fingerprint(open_source(photos)).files != before.files
