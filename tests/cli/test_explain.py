"""``ghostclas explain`` with the built-in model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from ghostclas.cli import main
from tests.images import encode, photo

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "one.png").write_bytes(encode(photo(160, 120, seed)))
    return tmp_path / "photos"


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_it_says_where_and_how_to_see_it(folder: Path, capsys: Shown) -> None:
    file = folder / "a" / "one.png"
    assert run("explain", file) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{file}\n")
    assert "of the width and" in shown.out
    assert shown.err == f"to see it: ghostclas explain {file} --output explained.png\n"


def test_one_photo_becomes_one_picture_and_a_folder_a_folder(
    folder: Path, tmp_path: Path, capsys: Shown
) -> None:
    file = folder / "a" / "one.png"
    assert run("explain", file, "--output", tmp_path / "why.png", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["output"] == str(tmp_path / "why.png")
    assert len(shown["heat"]) == len(shown["heat"][0]) == 4
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.size == (160, 120)
    assert run("explain", folder, "--output", tmp_path / "why.png") == 2
    assert "2 photos: give --output a folder" in capsys.readouterr().err
    assert run("explain", folder, "--output", tmp_path / "why", "--label", "beer bottle") == 0
    assert capsys.readouterr().out.count("beer bottle: ") == 2
    names = ["one.png.2.explained.png", "one.png.explained.png"]
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == names


def test_a_bad_photo_is_a_result_in_its_place(folder: Path, capsys: Shown) -> None:
    (folder / "a" / "bad.png").write_bytes(b"no image")
    assert run("explain", folder, "--json") == 3
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line["error"] and line["error"]["code"] for line in lines] == ["not_an_image", None, None]
    assert "1 of 3 photos could not be explained" in shown.err
    assert run("explain", folder, "--label", "beer botle") == 2
    assert "did you mean 'beer bottle'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "kind"), [("why.jpg", "JPEG"), ("why.JPEG", "JPEG"), ("why.png", "PNG")])
def test_the_name_of_the_picture_says_its_format(folder: Path, tmp_path: Path, name: str, kind: str) -> None:
    assert run("explain", folder / "a" / "one.png", "--output", tmp_path / name) == 0
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind


def test_a_picture_of_another_format_is_no_folder(folder: Path, tmp_path: Path, capsys: Shown) -> None:
    assert run("explain", folder / "a" / "one.png", "--output", tmp_path / "why.webp") == 2
    assert "written as .png or .jpg or .jpeg, not as .webp" in capsys.readouterr().err
    assert not (tmp_path / "why.webp").exists()
