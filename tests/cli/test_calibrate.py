"""``ghostclas calibrate`` on a real bundle with known answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from tests.colours import colour_bundle, colour_folder, colour_photo

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return colour_bundle(tmp_path / "colours", sharpness=1.0).path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for offset, name in enumerate(("red", "green", "blue")):
        for number in range(10):
            strength = 255 - 5 * number - offset
            colour_photo(tmp_path / "photos" / name / f"{number}.png", name, strength=strength)
    return tmp_path / "photos"


@pytest.fixture
def others(tmp_path: Path) -> Path:
    colour_photo(tmp_path / "others" / "cyan.png", "cyan")
    return tmp_path / "others"


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_it_stores_a_threshold_that_predict_then_uses(
    model: Path, data: Path, others: Path, capsys: Shown
) -> None:
    assert run("calibrate", "--model", model, "--data", data, "--others", others) == 0
    shown = capsys.readouterr()
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "right answers 0 of 30, 0.0 % become unknown: what it costs" in lines
    assert "other photos 1 of 1, 100.0 % become unknown" in lines
    assert "unknown below" in shown.err
    assert Bundle.open(model).postprocess.unknown_below > 0
    assert run("predict", others / "cyan.png", data / "red" / "0.png", "--model", model) == 0
    shown = capsys.readouterr()
    assert shown.out.count("unknown; the nearest are") == 1
    assert run("eval", "--data", data, "--model", model) == 0
    assert "unknown" in capsys.readouterr().out
    assert run("calibrate", "--model", model, "--off") == 0
    assert Bundle.open(model).postprocess.unknown_below == 0


def test_json_and_a_dry_run(model: Path, data: Path, capsys: Shown) -> None:
    before = (model / "manifest.json").read_bytes()
    assert run("calibrate", "--model", model, "--data", data, "--dry-run", "--json", "--cost", "0.1") == 0
    fit = json.loads(capsys.readouterr().out)
    assert fit["unknown"]["right"] == 30
    assert fit["unknown"]["right_unknown"] == 2
    assert fit["unknown"]["threshold"] > 0
    assert (model / "manifest.json").read_bytes() == before


def test_what_it_refuses(model: Path, data: Path, capsys: Shown) -> None:
    assert run("calibrate", "--model", model) == 2
    assert "--data FOLDER" in capsys.readouterr().err
    assert run("calibrate", "--model", model, "--off", "--data", data) == 2
    assert run("calibrate", "--model", model, "--data", data, "--cost", "2") == 2
    assert "share between 0 and 1" in capsys.readouterr().err
    assert run("calibrate", "--model", model, "--data", data, "--cost", "0.01") == 3
    assert "give at least 99 photos" in capsys.readouterr().err


def test_too_few_right_answers_store_the_temperature_and_show_no_threshold(
    tmp_path: Path, capsys: Shown
) -> None:
    model = colour_bundle(tmp_path / "mine" / "bundle", sharpness=1.0).path
    # In both halves, one of four is wrong.
    colours = ["red", "red", "green", "green", "red", "red", "red", "red"]
    few = colour_folder(tmp_path / "few", {"red": colours})
    before = (model / "manifest.json").read_bytes()
    assert run("calibrate", "--model", model.parent, "--data", few, "--dry-run") == 3
    assert (model / "manifest.json").read_bytes() == before
    capsys.readouterr()
    assert run("calibrate", "--model", model.parent, "--data", few) == 3
    shown = capsys.readouterr()
    assert shown.out.startswith("mine through "), "the run, by which a person knows it"
    assert "temperature" in shown.out
    assert not any(words in shown.out for words in ("unknown", "at most", "right answers"))
    after = Bundle.open(model).postprocess
    assert (after.temperature != 1, after.unknown_below) == (True, 0)
    stored, refused = shown.err.splitlines()
    assert stored == f"stored in {model}: temperature {after.temperature:.6g}, no threshold"
    assert "6 right answers do not determine a threshold" in refused
