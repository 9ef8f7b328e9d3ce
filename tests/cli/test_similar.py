"""``ghostclas similar`` with the built-in model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ghostclas.cli import main
from tests.images import encode, photo

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in (("a", 0), ("b", 1), ("b", 2)):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name / f"{seed}.png").write_bytes(encode(photo(160, 120, seed)))
    return tmp_path / "photos"


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_it_lists_similar_photos_and_keeps_the_index(folder: Path, tmp_path: Path, capsys: Shown) -> None:
    query = tmp_path / "query.png"
    query.write_bytes(encode(photo(160, 120, 1)))
    words = ("similar", query, "--in", folder, "--top", "2", "--engine", "onnxruntime")
    assert run(*words) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == str(query)
    assert lines[1] == f"   1.000  b  {folder / 'b' / '1.png'}"
    assert len(lines) == 3
    assert f"3 photos in {folder}, 3 of them new or changed" in shown.err
    assert run(*words, "--json") == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert set(answer) == {"file", "similar", "error"}
    assert answer["similar"][0]["label"] == "b"
    assert "0 of them new or changed" in shown.err


def test_a_bad_photo_is_a_result_in_its_place(folder: Path, tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert run("similar", tmp_path / "bad.png", folder / "a" / "0.png", "--in", folder, "--json") == 3
    shown = capsys.readouterr()
    bad, good = (json.loads(line) for line in shown.out.splitlines())
    assert bad["error"]["code"] == "not_an_image"
    assert len(good["similar"]) == 2
    assert run("similar", tmp_path / "bad.png", "--in", tmp_path / "bad.png") == 2
    assert run("similar", tmp_path / "bad.png", "--in", folder, "--top", "0") == 2


def test_photos_are_found_in_a_zip_as_they_are_in_its_folder(
    folder: Path, tmp_path: Path, capsys: Shown
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "photos"))
    query = tmp_path / "query.png"
    query.write_bytes(encode(photo(160, 120, 1)))
    words = ("similar", query, "--engine", "onnxruntime", "--in")
    assert run(*words, folder) == 0
    wanted = capsys.readouterr().out.replace(str(folder), str(archive / "photos"))
    for computed in (3, 0):
        assert run(*words, archive) == 0
        shown = capsys.readouterr()
        assert shown.out == wanted
        assert f"3 photos in {archive}, {computed} of them new or changed" in shown.err
