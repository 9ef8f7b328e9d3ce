"""Label files, and labels that are numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ghostclas.data import open_source
from ghostclas.data.labels import read_label_file
from ghostclas.errors import DataError
from tests.limited import run_python


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 bee\n0 ant, red\n", ("ant, red", "bee")),
        ("ant\nbee\n", ("ant", "bee")),
        ("3 musketeers\n1 ring\n", ("3 musketeers", "1 ring")),
        ("0 crane\n1 crane\n", ("crane (0)", "crane (1)")),
    ],
)
def test_label_files_are_numbered_or_plain(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read_label_file(tmp_path / "labels.txt") == names


def test_label_files_may_be_in_gbk(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("1 猫\n0 小狗\n".encode("gbk"))
    assert read_label_file(tmp_path / "labels.txt") == ("小狗", "猫")
    (tmp_path / "labels.txt").write_bytes(b"0 \xff\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_label_file(tmp_path / "labels.txt")


def test_numbers_that_are_no_indices_do_not_make_a_million_classes(photos: Path) -> None:
    listed = photos / "list.txt"
    listed.write_text("ant/000.jpg 3\nbee/000.jpg 1000234\n")
    with pytest.raises(DataError, match="uses the label 1000234, but only 2 different labels"):
        open_source(listed)
    listed.write_text("ant/000.jpg 3\nbee/000.jpg 999\n")
    assert len(open_source(listed).classes) == 1000


HUGE = """
import io, sys, tarfile
from pathlib import Path
from ghostclas.data import open_source
from ghostclas.errors import DataError
from tests.data.hostile import add
from tests.data.trees import parquet_folder
photos = Path(sys.argv[1])
places = [photos / name for name in ("list.txt", "photos.tar", "photos.parquet")]
places[0].write_text("ant/000.jpg 0\\nant/001.jpg 999999999\\n")
with tarfile.open(places[1], "w") as tar:
    for number, label in enumerate((b"0", b"999999999")):
        add(tar, f"{number}.jpg", (photos / "ant/000.jpg").read_bytes())
        add(tar, f"{number}.cls", label)
import pyarrow as pa, pyarrow.parquet as pq
image = {"bytes": b"x", "path": None}
pq.write_table(pa.Table.from_pylist([{"image": image, "label": n} for n in (0, 999999999)]), places[2])
for names in (False, True):
    if names:
        (photos / "classes.txt").write_text("ant\\nbee\\n")
    for place in places:
        try:
            open_source(place)
        except DataError as error:
            print(str(error).splitlines()[0].removeprefix(f"{place} "))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_label_far_above_the_number_of_images_makes_no_classes(photos: Path) -> None:
    outcome = run_python(HUGE, photos)
    unnamed = (
        "uses the label 999999999, but only 2 different labels: as indices they would make "
        "1,000,000,000 classes"
    )
    named = "uses label 999999999, but there are 2 class names (from 0)"
    assert outcome.stdout.splitlines() == [*[unnamed] * 3, *[named] * 3], outcome
    assert outcome.cpu_seconds < 10
    assert outcome.peak_bytes < 400e6
