"""What ``find_images`` promises: which files it yields, in which order, and how lazily."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghostclas.prediction.photos import count_images, find_images


def test_folders_are_walked_in_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.jpeg", "b/.hidden.jpg", ".git/x.jpg", "a.png", "c.txt", "d/e/f.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])]
    assert found == ["a.png", "b/1.jpeg", "b/2.JPG", "d/e/f.webp"]


def test_a_file_stands_for_itself_whatever_its_name(tmp_path: Path) -> None:
    note = tmp_path / "c.txt"
    note.touch()
    assert list(find_images([note, "missing.jpg"])) == [note, Path("missing.jpg")]


def test_patterns_are_expanded_in_order_unless_they_are_files(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "x[1].jpg", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images([f"{tmp_path}/[ab]*.jpg"])] == ["a.jpg", "b.jpg"]
    assert [path.name for path in find_images([f"{tmp_path}/x[1].jpg"])] == ["x[1].jpg"]
    assert list(find_images([f"{tmp_path}/*.gif"])) == [tmp_path / "*.gif"]


def test_links_to_folders_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/1.png").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real/up").symlink_to(tmp_path, target_is_directory=True)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])]
    assert found == ["linked/1.png", "real/1.png"]


def test_a_folder_is_walked_lazily(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    images = find_images([tmp_path])
    assert next(images) == tmp_path / "a/1.png"
    (tmp_path / "b/2.png").touch()
    assert [path.name for path in images] == ["1.png", "2.png"]


@pytest.mark.parametrize("count", [4, 5, 11])
def test_a_large_folder_is_sorted_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("ghostclas.prediction.photos.SORTED_TOGETHER", 4)
    for index in range(count):
        (tmp_path / f"{index}.png").touch()
        (tmp_path / f"{index}.txt").touch()
    with os.scandir(tmp_path) as entries:
        listed = [entry.name for entry in entries if entry.name.endswith(".png")]
    wanted = [name for start in range(0, count, 4) for name in sorted(listed[start : start + 4])]
    assert [path.name for path in find_images([tmp_path])] == wanted
    assert [path.name for path in find_images([f"{tmp_path}/*.png"])] == wanted


def test_the_first_photo_of_a_large_folder_does_not_wait_for_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.prediction.photos.SORTED_TOGETHER", 4)
    for index in range(100):
        (tmp_path / f"{index}.png").touch()
    read = 0
    scandir = os.scandir

    class Counting:
        def __init__(self, folder: Path) -> None:
            self.entries = scandir(folder)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.entries.close()

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            nonlocal read
            for entry in self.entries:
                read += 1
                yield entry

    monkeypatch.setattr(os, "scandir", Counting)
    images = find_images([tmp_path])
    next(images)
    assert read == 4
    assert len(list(images)) == 99
    assert read == 100


def test_images_are_counted_as_they_are_found(tmp_path: Path) -> None:
    for name in ("a.png", "b/1.jpg", "b/notes.txt", "b/.hidden.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert count_images([tmp_path, tmp_path / "a.png"]) == 3
    assert count_images([]) == 0
