"""PaddleClas list files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.data import open_source, open_splits, source_notes
from ghostclas.errors import DataError
from tests.data.trees import make_folder


def test_a_list_may_have_a_byte_order_mark_and_names_with_any_separator(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 1, "bee\u2028": 1})
    (root / "list.txt").write_text("\ufeffant/000.jpg\t0\nbee\u2028/000.jpg\t1\n", encoding="utf-8")
    assert [s.key for s in open_source(root / "list.txt").samples] == ["ant/000.jpg", "bee\u2028/000.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no image"),
        ("ant/000.jpg\n", "line 1: expected a path and a label"),
        ("ant/000.jpg 0,1,0\n", "'0,1,0' is a multi-label"),
        ("ant/000.jpg\t0,1,0\n", "'0,1,0' is a multi-label"),
        ("ant/000.jpg,0,1,0\n", "'0,1,0' is a multi-label"),
        ("ant/000.jpg\t0\tx\nbee/000.jpg\n", "line 2: expected a path and a label"),
        ("nowhere/000.jpg 0\n", "there is no file"),
        ("ant/000.jpg 7\n", "uses label 7, but there are 3 class names"),
        ("ant/000.jpg wasp\n", "labels that are no class names: 'wasp'"),
    ],
)
def test_a_wrong_list_is_refused(text: str, message: str, photos: Path) -> None:
    (photos / "classes.txt").write_text("ant\nbee\ncat\n")
    (photos / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_source(photos / "list.txt")


def test_lists_may_have_blanks_in_paths_and_names_after_a_tab(tmp_path: Path) -> None:
    make_folder(tmp_path, {"my photos": 2})
    (tmp_path / "list.txt").write_text("my photos/000.jpg 1\n\nmy photos/001.jpg 0\n")
    assert [tuple(s) for s in open_source(tmp_path / "list.txt").samples] == [
        ("my photos/000.jpg", 1),
        ("my photos/001.jpg", 0),
    ]
    (tmp_path / "list.txt").write_text("my photos/000.jpg\tgreat ape\nmy photos/001.jpg\tant\n")
    source = open_source(tmp_path / "list.txt")
    assert list(source.classes) == ["ant", "great ape"]
    assert [s.label for s in source.samples] == [1, 0]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("ant/000.jpg 0 7\nbee/000.jpg 1 8\n", True),
        ("ant/000.jpg\t0\tfrom a camera\nbee/000.jpg\t1\tscanned\n", True),
        ("ant/000.jpg,0\nbee/000.jpg,1\n", False),
        ("ant/000.jpg; 0; x\nbee/000.jpg; 1; y\n", True),
        ("ant/000.jpg|0\nbee/000.jpg|1\n", False),
    ],
)
def test_lists_may_have_other_delimiters_and_more_columns(text: str, note: bool, photos: Path) -> None:
    (photos / "classes.txt").write_text("ant\nbee\n")
    (photos / "list.txt").write_text(text)
    source = open_source(photos / "list.txt")
    assert [tuple(s) for s in source.samples] == [("ant/000.jpg", 0), ("bee/000.jpg", 1)]
    said = f"{photos / 'list.txt'}: the first two columns are read, the others are left out"
    assert source_notes(source) == ((said,) if note else ())


def test_images_that_lie_outside_the_root_are_read_and_named(photos: Path, tmp_path: Path) -> None:
    there = tmp_path / "photos" / "lists"
    there.mkdir()
    inside, outside = there / "here.jpg", photos / "ant" / "000.jpg"
    inside.write_bytes(outside.read_bytes())
    (there / "list.txt").write_text(f"{inside} 0\n{outside} 0\n../ant/001.jpg 1\n./a/../here.jpg 1\n")
    source = open_source(there / "list.txt")
    assert source.read(1) == outside.read_bytes()
    assert source_notes(source) == (
        f"{there / 'list.txt'}: 2 of 4 images lie outside {there}: {str(outside)!r}, '../ant/001.jpg'",
    )
    assert not source_notes(open_source(there / "list.txt", root="/"))


@pytest.mark.parametrize("text", [f"ant/000.jpg {'9' * 5000}\n", f"{'x' * 10**6}\n", "ant/000.jpg 0\0\n"])
def test_a_line_of_any_length_is_refused_in_one_short_line(text: str, photos: Path) -> None:
    (photos / "classes.txt").write_text("9" * 5000 + " ant\nbee\ncat\n")
    (photos / "list.txt").write_text(text)
    with pytest.raises(DataError) as caught:
        open_source(photos / "list.txt")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "ant/000.jpg,ant\nbee/000.jpg,bee\n",
        "file,label\nant/000.jpg,ant\n\nbee/000.jpg,bee\n",
        "\ufeffLabel;Weight;Path\r\nant;1;ant/000.jpg\r\nbee;2;bee/000.jpg\r\n",
        '"image","class"\n"ant/000.jpg","ant"\n"bee/000.jpg","bee"\n',
    ],
)
def test_a_table_names_its_columns_or_has_two(text: str, photos: Path) -> None:
    (photos / "table.csv").write_text(text, encoding="utf-8", newline="")
    source = open_source(photos / "table.csv")
    assert list(source.classes) == ["ant", "bee"]
    assert [tuple(s) for s in source.samples] == [("ant/000.jpg", 0), ("bee/000.jpg", 1)]
    assert source.read(1) == (photos / "bee" / "000.jpg").read_bytes()


def test_a_cell_that_a_spreadsheet_would_compute_is_read_as_it_was(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"-5": 1})
    (root / "table.csv").write_text("file,label\n'-5/000.jpg,'=ant\n", encoding="utf-8")
    source = open_source(root / "table.csv")
    assert (list(source.classes), source.samples[0].key) == (["=ant"], "-5/000.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no image; expected file,label rows"),
        ("file,label\n", "lists no image"),
        ("a.jpg,3,ant\n", "line 1: 3 columns, and no first row that names them"),
        ("ant/000.jpg\n", "line 1: 1 columns"),
        ("file,label\nant/000.jpg,ant\nbee/000.jpg\n", "line 3: expected a file and a label but found"),
        ("file,label\nant/000.jpg,\n", "line 2: expected a file and a label"),
        ("file,label\nnowhere.jpg,ant\n", r"line 2: there is no file .*--root FOLDER"),
        ('file,label\n"ant,ant\n', "not a table"),
        ("file,label\n" + "x" * 200_000 + ",ant\n", "not a table"),
    ],
)
def test_a_wrong_table_is_refused(text: str, message: str, photos: Path) -> None:
    (photos / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        open_source(photos / "table.csv")


def test_training_sets_images_of_a_table_aside(photos: Path) -> None:
    rows = [f"{path.relative_to(photos).as_posix()},{path.parent.name}" for path in photos.rglob("*.jpg")]
    (photos / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    splits = open_splits(photos / "table.csv", val_fraction=0.5)
    assert len(splits.train.samples) + len(splits.val.samples) == len(rows)
    assert splits.train.classes == splits.val.classes
