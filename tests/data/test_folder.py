"""Class folders on disk: links and files that are gone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ghostclas.data import open_source
from ghostclas.errors import DataError, ImageError
from tests.data.trees import make_folder
from tests.limited import run_python


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


HOSTILE = """
import os, sys
from pathlib import Path
from ghostclas.data import open_source
from ghostclas.data.pool import open_pool
from ghostclas.datasets.audit import audit
from ghostclas.errors import DataError, ImageError
folder = Path(sys.argv[1])
WHY = ("no regular file", "no such folder or file", "holds no image")
os.mkfifo(folder / "ant" / "pipe.jpg")
os.mkfifo(folder / "ant" / "pipe")
(folder / "ant" / "zero.jpg").symlink_to("/dev/zero")
with (folder / "ant" / "sparse.jpg").open("wb") as file:
    file.truncate(200 * 10**9)
for opened in (open_source(folder), open_pool(folder)):
    print(*getattr(opened, "notes", ()), sep="\\n")
    for index, sample in enumerate(opened.samples):
        try:
            opened.read(index)
        except ImageError as error:
            print(sample.key, error.code)
print(*(f"{found.file.key} {found.code}" for found in audit(folder).unreadable), sep="\\n")
for name in ("list.txt", "photos.tar", "photos.parquet", "photos.zip", "train/photos.tar", "x" * 300):
    path = folder.parent / "pipes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(name) < 100:
        os.mkfifo(path)
    for opener in (open_source, open_pool):
        for place in (path, path.parent) if path.parent.name == "train" else (path,):
            try:
                opener(place)
            except DataError as error:
                print(str(error).count("\\n"), any(word in str(error) for word in WHY))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the pipes, devices and limits of Linux")
def test_pipes_devices_and_endless_files_are_named_and_neither_waited_for_nor_read(photos: Path) -> None:
    outcome = run_python(HOSTILE, photos)
    bad = ["ant/pipe.jpg unreadable", "ant/sparse.jpg too_large", "ant/zero.jpg unreadable"]
    left_out = f"{photos}: left out 1 file that is no image: 1 no extension"
    assert outcome.stdout.splitlines() == [left_out, *bad, left_out, *bad, *bad, *["0 True"] * 14], outcome
    assert outcome.cpu_seconds < 10
    assert outcome.peak_bytes < 300e6


def test_folders_within_each_other_without_end_are_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("photos", *["d"] * 500)
    deep.mkdir(parents=True)
    with pytest.raises(DataError, match="lies more than 100 folders deep"):
        open_source(tmp_path / "photos")
