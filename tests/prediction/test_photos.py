"""``find_images``: the files that it yields, their order, and its laziness."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ghostclas.errors import UsageError
from ghostclas.prediction.photos import MAX_PARTS, count_images, find_images, read_list


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


# ------------------------------------------------------------------ what is an image


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    return buffer.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)


def test_a_file_of_unknown_name_is_an_image_if_its_content_is(tmp_path: Path) -> None:
    for name in ("scan", "a.jpg_large", "b.mpo", "c.pjpeg", "d.jpg?w=3", "e.2024"):
        (tmp_path / name).write_bytes(encoded("JPEG"))
    (tmp_path / "f.pnm").write_bytes(encoded("PPM"))
    (tmp_path / "README").write_text("BMW and other brands")
    (tmp_path / "notes.txt").write_bytes(encoded("JPEG"))
    left_out: Counter[str] = Counter()
    found = [path.name for path in find_images([tmp_path], left_out=left_out)]
    assert found == ["a.jpg_large", "b.mpo", "c.pjpeg", "d.jpg?w=3", "e.2024", "f.pnm", "scan"]
    assert left_out == {"no extension": 1, ".txt": 1}


def test_photographs_that_are_not_read_are_yielded_to_get_their_error(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC)
    (tmp_path / "b").write_bytes(HEIC)
    (tmp_path / "c.nef").write_bytes(b"II*\0" + bytes(99))
    assert [path.name for path in find_images([tmp_path])] == ["a.heic", "b", "c.nef"]


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found", ".thumbs"])
def test_what_systems_leave_behind_is_no_photo(name: str, tmp_path: Path) -> None:
    for folder in (name, "album"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").touch()
    (tmp_path / "Thumbs.db").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])] == ["album/1.jpg"]


def test_the_pictures_of_a_training_run_are_no_photos(tmp_path: Path) -> None:
    run = tmp_path / "runs/one"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "log.jsonl", "curves.png", "../../photo.png"):
        (run / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])] == ["photo.png"]
    assert [path.name for path in find_images([run])] == ["curves.png"], "a folder that is named is walked"


# ------------------------------------------------------------------ lists


@pytest.mark.parametrize("count", [MAX_PARTS + 1, 60_000])
def test_a_pattern_of_more_names_than_are_looked_for_is_yielded_as_it_is(count: int) -> None:
    assert [len(path.parts) for path in find_images(["*/" * count])] == [count]


def test_a_listed_path_is_never_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a1.jpg").touch()
    listed = f"{tmp_path}/a[1].jpg"
    assert list(find_images([listed], literal=True)) == [Path(listed)]
    assert [path.name for path in find_images([listed])] == ["a1.jpg"]


def test_a_match_whose_own_name_is_a_pattern_is_yielded_once(tmp_path: Path) -> None:
    dangling = tmp_path / "a*.jpg"
    dangling.symlink_to(tmp_path / "nowhere.jpg")
    assert list(find_images([f"{tmp_path}/a*"])) == [dangling]


def test_a_list_has_no_byte_order_mark_and_no_empty_lines() -> None:
    assert list(read_list(io.BytesIO(b"\xef\xbb\xbfa.jpg\r\n\n b.jpg\nc"))) == ["a.jpg", " b.jpg", "c"]
    with pytest.raises(UsageError, match="UTF-16"):
        list(read_list(io.BytesIO("a.jpg\n".encode("utf-16"))))
