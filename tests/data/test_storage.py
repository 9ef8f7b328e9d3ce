"""A path that is no data set is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.data import open_source
from ghostclas.errors import DataError
from tests.data.trees import make_folder, picture


def test_useless_paths_are_told_apart(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            open_source(path)
        return str(caught.value)

    assert "no such folder or file" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "is empty; expected one folder of images for each class" in refused(tmp_path / "empty")
    (tmp_path / "photo.jpg").write_bytes(picture(0))
    assert "is a file; expected a folder" in refused(tmp_path / "photo.jpg")
    flat = make_folder(tmp_path / "flat", {"": 3})
    assert "holds 3 images but no class folders" in refused(flat)
    (tmp_path / "texts" / "a").mkdir(parents=True)
    (tmp_path / "texts" / "a" / "b.txt").write_text("")
    assert "only other files (.txt: 1)" in refused(tmp_path / "texts")
    hollow = make_folder(tmp_path / "hollow", {"ant": 1, "bee": 1, "cat": 0})
    assert "no image in the class folder 'cat'" in refused(hollow)
    (tmp_path / "fake.zip").write_text("hello")
    assert "cannot read the archive" in refused(tmp_path / "fake.zip")
    (tmp_path / "fake.parquet").write_text("hello")
    assert "as Parquet" in refused(tmp_path / "fake.parquet")
    (tmp_path / "fake.tar").write_text("hello" * 1000)
    assert "damaged, cut short or no .tar" in refused(tmp_path / "fake.tar")
