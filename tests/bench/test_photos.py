"""The photo files of a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ghostclas.bench.photos import copied_photos, drawn_photos
from ghostclas.data import open_source
from ghostclas.errors import DataError
from tests.data.trees import make_folder


def test_drawn_photos_are_the_same_every_time_and_differ(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        assert drawn_photos(folder, 2) == "2 drawn JPEGs of 480 x 360"
    first, again = ([path.read_bytes() for path in sorted(folder.iterdir())] for folder in folders)
    assert first == again
    assert first[0] != first[1]
    with Image.open(folders[0] / "00000.jpg") as photo:
        assert photo.size == (480, 360)


def test_images_are_copied_from_all_over_a_source(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 3, "bee": 3, "cat": 3})
    (tmp_path / "out").mkdir()
    assert copied_photos(open_source(root), tmp_path / "out", 3) == "3 images of set"
    copied = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    assert copied == [(root / name).read_bytes() for name in ("ant/000.jpg", "bee/001.jpg", "cat/002.jpg")]


def test_a_source_whose_images_are_gone_is_an_error(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 1, "bee": 1})
    source = open_source(root)
    for path in root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match="none of its images can be read"):
        copied_photos(source, tmp_path, 2)
