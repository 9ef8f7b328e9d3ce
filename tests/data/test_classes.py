"""Class names, read from a table and told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.data import open_source, open_splits, source_notes
from ghostclas.errors import DataError
from tests.data.trees import make_folder, zip_folder
from tests.limited import run_python


@pytest.mark.parametrize("header", ["", "wnid,name\n"])
@pytest.mark.parametrize("place", ["root", "parent", "zip"])
def test_classes_csv_names_the_classes(header: str, place: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"n1": 1, "n2": 1, "n3": 1})
    names = header + 'n2,"bee, honey"\nn1,crane\nn3,crane\n'
    (root if place != "parent" else tmp_path).joinpath("classes.csv").write_text(names)
    path = zip_folder(root, tmp_path / "set.zip") if place == "zip" else root
    assert list(open_source(path).classes) == ["crane (n1)", "bee, honey", "crane (n3)"]


def test_a_name_shared_by_two_classes_is_the_same_in_a_split_with_only_one_of_them(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/n1": 1, "train/n2": 1, "val/n2": 1})
    (root / "classes.csv").write_text("n1,crane\nn2,crane\n")
    splits = open_splits(root)
    assert [splits.val.classes[s.label] for s in splits.val.samples] == ["crane (n2)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ant\n", "line 1: expected folder,name"),
        (b"ant,a\nant,b\n", "line 2: folder 'ant' is named both 'a' and 'b'"),
        (b"other,a\n", "names none of the class folders"),
        (b"ant,\xff\n", "not a UTF-8 table"),
        (b"ant,bee\n", "several classes have the same name: 'bee'"),
    ],
)
def test_a_wrong_classes_csv_is_refused(content: bytes, message: str, photos: Path) -> None:
    (photos / "classes.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_source(photos)


def test_rows_of_classes_csv_without_a_folder_are_told(photos: Path) -> None:
    (photos / "classes.csv").write_text("folder,name\nant,Ant\nBee,Bee\nwasp,Wasp\n", encoding="utf-8")
    source = open_source(photos)
    assert list(source.classes) == ["Ant", "bee", "cat"]
    assert source_notes(source) == (f"{photos}/classes.csv: 2 rows have no folder: 'Bee', 'wasp'",)


def test_a_table_of_newlines_takes_little_memory() -> None:
    code = """
from ghostclas.data.classes import MAX_CLASSES_BYTES, read_names
from ghostclas.errors import DataError

print(read_names(b"\\n" * MAX_CLASSES_BYTES, "classes.csv"))
try:
    read_names(b"\\n" * 60_000_000, "classes.csv")
except DataError as error:
    print(error)
"""
    done = run_python(code)
    assert done.stdout.splitlines() == [
        "{}",
        "classes.csv has 60,000,000 bytes; a table of classes has at most 16,777,216",
    ]
    assert done.cpu_seconds < 20
    assert done.peak_bytes < 400e6
