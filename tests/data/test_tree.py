"""Which files of a tree of folders are images of which class."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas import imaging
from ghostclas.data import align_source, open_source, source_notes
from ghostclas.data.tree import TreeSource
from ghostclas.errors import DataError
from tests.data.trees import make_folder, picture, zip_folder


def test_images_lie_at_any_depth_and_other_files_are_counted(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 1, "bee/small/brown": 2, ".git/objects": 1})
    (root / "bee" / "notes.txt").write_text("x")
    (root / "bee" / ".hidden.jpg").write_text("x")
    (root / "loose.JPG").write_bytes(picture(0))
    (root / "ant" / "upper.JPEG").write_bytes(picture(1))
    source = open_source(root)
    assert [s.key for s in source.samples] == [
        "ant/000.jpg",
        "ant/upper.JPEG",
        "bee/small/brown/000.jpg",
        "bee/small/brown/001.jpg",
    ]
    assert isinstance(source, TreeSource)
    assert dict(source.ignored) == {".txt": 1, "outside the class folders": 1}
    assert source_notes(source) == (
        f"{root}: left out 1 file that is no image: 1 .txt",
        f"{root}: left out 1 image outside the class folders",
    )


NAMES_OF_IMAGES = ["scan", "a.jpg_large", "b.mpo", "c.pjpeg", "d.jpg?w=3", "e.2024", "f.pnm"]


@pytest.mark.parametrize("zipped", [False, True])
def test_content_decides_where_the_name_does_not(zipped: bool, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 0, "bee": 1})
    for name in NAMES_OF_IMAGES:
        (root / "ant" / name).write_bytes(picture(1, kind="PPM" if name == "f.pnm" else "JPEG"))
    (root / "ant" / "README").write_text("BMW, and P3 of other brands")
    (root / "ant" / "x.jxl").write_bytes(b"any")
    (root / "bee" / "y").write_bytes(b"\0\0\0\x0cJXL " + bytes(99))
    path = zip_folder(root, tmp_path / "set.zip") if zipped else root
    source = open_source(path)
    assert [s.key for s in source.samples] == [
        *(f"ant/{name}" for name in sorted(NAMES_OF_IMAGES)),
        "bee/000.jpg",
    ]
    for index in range(len(source.samples)):
        imaging.decode(source.read(index))
    assert source_notes(align_source(source, ["bee", "ant"])) == (
        f"{path}: left out 3 files that are no images: 2 JPEG XL, 1 no extension; "
        "save photos of these kinds as JPEG or PNG",
    )


def test_only_files_of_unknown_extension_are_opened(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "ant/notes.txt").write_text("x")
    (photos / "ant/scan").write_bytes(picture(1))
    opened: list[str] = []

    def read_head(path: Path) -> bytes:
        opened.append(path.name)
        return b""

    monkeypatch.setattr("ghostclas.data.folder.read_head", read_head)
    open_source(photos)
    assert opened == ["scan"]


def test_a_class_of_photos_that_are_not_read_says_so(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 1, "bee": 0})
    (root / "bee/1.jxl").touch()
    with pytest.raises(
        DataError, match=r"class folder 'bee' \(left out 1 file that is no image: 1 JPEG XL; save"
    ):
        open_source(root)


def test_folders_copied_through_macos_stay_the_same_class(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    a = open_source(make_folder(tmp_path / "a", {composed: 1, "x": 1}))
    b = open_source(make_folder(tmp_path / "b", {decomposed: 1, "x": 1}))
    assert list(a.classes) == list(b.classes) == [composed, "x"]


@pytest.mark.parametrize("zipped", [False, True])
def test_photos_without_a_certain_label_are_no_class_of_a_sorted_folder(zipped: bool, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 1, "bee": 1, "unsure": 2, "unsure/deep": 1})
    (root / "sorted.csv").write_bytes(b'"from","to","how"\n"/a.jpg","unsure/000.jpg","copy"\n')
    path = zip_folder(root, tmp_path / "set.zip") if zipped else root
    source = open_source(path)
    assert source.classes == ("ant", "bee")
    assert len(source.samples) == 2
    note = "left out what earlier commands wrote: unsure/ (photos without a certain label)"
    assert note in source_notes(source)


def test_a_class_may_be_named_unsure(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"sure": 1, "unsure": 1})
    (root / "sorted.csv").write_text("name,age\n", encoding="utf-8")
    assert open_source(root).classes == ("sure", "unsure")
