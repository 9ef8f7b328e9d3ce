"""Photos of a folder and of a ``.zip``: the same names, what changes with their content, and their errors."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ghostclas.errors import ImageError, UsageError
from ghostclas.prediction.stored_photos import open_photos, read_photo
from tests.images import write_photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a/0.jpg", "b/1.jpg")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        write_photo(tmp_path / "photos" / name, seed=number)
    return tmp_path / "photos"


@pytest.fixture
def archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder.parent / "photos.ZIP", "w") as packed:
        for path in sorted(folder.rglob("*.jpg")):
            packed.write(path, path.relative_to(folder.parent))
        packed.writestr("photos/notes.txt", "no photo")
    return folder.parent / "photos.ZIP"


def test_an_archive_has_the_names_and_contents_of_its_folder(folder: Path, archive: Path) -> None:
    from_folder, from_archive = open_photos(folder), open_photos(archive)
    names = ["a/0.jpg", "b/1.jpg"]
    assert list(from_folder.stamps) == list(from_archive.stamps) == names
    assert from_archive.folder == archive / "photos"
    contents = [(folder / name).read_bytes() for name in names]
    assert list(from_folder.open(names)) == [folder / name for name in names]
    assert list(from_archive.open(names)) == contents
    assert [read_photo(str(from_archive.folder / name)) for name in names] == contents
    assert read_photo(str(folder / "a" / "0.jpg")) == contents[0]


def test_the_stamp_of_a_photo_changes_with_its_content(folder: Path, archive: Path) -> None:
    before = open_photos(archive).stamps
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(folder / "a" / "0.jpg", "photos/a/0.jpg")
        packed.write(folder / "a" / "0.jpg", "photos/b/1.jpg")
    after = open_photos(archive).stamps
    assert after["a/0.jpg"] == before["a/0.jpg"]
    assert after["b/1.jpg"] != before["b/1.jpg"]


def test_a_damaged_entry_has_an_error_in_its_place(archive: Path) -> None:
    content = archive.read_bytes()
    begin = content.index(b"photos/a/0.jpg") + len("photos/a/0.jpg")
    archive.write_bytes(content[: begin + 50] + bytes(20) + content[begin + 70 :])
    photos = open_photos(archive)
    first, second = photos.open(["a/0.jpg", "b/1.jpg"])
    assert first == b""
    assert second
    error = photos.error("a/0.jpg")
    assert error is not None
    assert error.code == "unreadable"
    assert photos.error("b/1.jpg") is None
    with pytest.raises(ImageError):
        read_photo(str(archive / "photos" / "a" / "0.jpg"))


def test_what_is_neither_is_refused(folder: Path) -> None:
    for path in (folder / "a" / "0.jpg", folder / "none", folder / "none.zip"):
        with pytest.raises(UsageError, match=r"no folder of photos, and no \.zip"):
            open_photos(path)
