"""Class folders on disk: links and files that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.data import open_source
from ghostclas.errors import DataError, ImageError
from tests.data.trees import make_folder


def test_a_linked_folder_is_followed_and_a_loop_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root", {"ant": 1})
    make_folder(tmp_path / "far", {"": 2})
    (root / "bee").symlink_to(tmp_path / "far", target_is_directory=True)
    assert len(open_source(root).samples) == 3
    (root / "bee" / "again").symlink_to(root, target_is_directory=True)
    with pytest.raises(DataError, match="link to a folder that contains it"):
        open_source(root)


def test_a_missing_image_is_an_image_error_when_it_is_read(photos: Path) -> None:
    source = open_source(photos)
    (photos / "ant" / "000.jpg").unlink()
    with pytest.raises(ImageError) as caught:
        source.read(0)
    assert caught.value.code == "not_found"
