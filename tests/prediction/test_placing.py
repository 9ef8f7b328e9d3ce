"""One file at a new path: whole, and never over another one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from ghostclas.prediction.placing import How, place, same_content


def refuse(number: int) -> Callable[..., None]:
    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    os.utime(path, (1000, 1000))
    return path


@pytest.fixture(params=["hard links", "no hard links"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with hard links, and one without, such as exFAT."""
    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("how", get_args(How))
def test_a_photo_is_placed(photo: Path, tmp_path: Path, how: How) -> None:
    target = tmp_path / "b.jpg"
    place(photo, target, how)
    assert target.read_bytes() == b"photo"
    assert target.stat().st_mtime == 1000
    assert photo.exists() == (how != "move")
    assert target.is_symlink() == (how == "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"b.jpg", *(["a.jpg"] * photo.exists())}
    )


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("how", get_args(How))
def test_what_is_there_stays(photo: Path, tmp_path: Path, how: How) -> None:
    target = tmp_path / "b.jpg"
    target.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        place(photo, target, how)
    assert target.read_bytes() == b"other"
    assert photo.read_bytes() == b"photo"
    assert len(list(tmp_path.iterdir())) == 2, "no draft is left"


def test_a_photo_goes_to_another_disk(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def within(path: Path, target: Path) -> Path:
        if path == photo:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(path, target)

    monkeypatch.setattr(os, "link", refuse(errno.EXDEV))
    monkeypatch.setattr(Path, "replace", within)
    place(photo, tmp_path / "b.jpg", "move")
    assert [path.name for path in tmp_path.iterdir()] == ["b.jpg"]
    assert (tmp_path / "b.jpg").read_bytes() == b"photo"
    assert (tmp_path / "b.jpg").stat().st_mtime == 1000


@pytest.mark.usefixtures("disk")
def test_a_photo_that_cannot_be_removed_stays_in_one_place(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def only_others(path: Path, **options: Any) -> None:
        if path == photo:
            raise PermissionError(errno.EACCES, "denied")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", only_others)
    monkeypatch.setattr(Path, "replace", refuse(errno.EACCES))
    with pytest.raises(PermissionError):
        place(photo, tmp_path / "b.jpg", "move")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_contents_are_compared_byte_by_byte(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for content, same in ((b"photo", True), (b"phota", False), (b"photo ", False), (b"", False)):
        other.write_bytes(content)
        assert same_content(photo, other) == same
    assert not same_content(photo, tmp_path / "absent")
