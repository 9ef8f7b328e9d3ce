"""``ghostclas eval`` and ``ghostclas compare`` on real bundles with known answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, pack
from ghostclas.cli import main
from tests.colours import colour_bundle, colour_folder

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return colour_bundle(tmp_path / "colours").path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two parts: all of train is right, four of five in val are, and one file of val is broken."""
    root = tmp_path / "shop"
    colour_folder(root / "train", {"red": ["red"], "green": ["green"], "blue": ["blue"]})
    colour_folder(root / "val", {"red": ["red", "red"], "green": ["green", "red"], "blue": ["blue"]})
    (root / "val" / "red" / "broken.png").write_bytes(b"no image")
    return root


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_eval_prints_the_figures_of_the_validation_part(model: Path, data: Path, capsys: Shown) -> None:
    assert run("eval", "--data", data, "--model", model) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("colours through onnxruntime ")
    for line in (
        "top-1        80.00 %  4 of 5; 95 % interval 37.6 to 96.4 %",
        f"{data}/val: 5 images, 3 classes",
        "     1 x green predicted as red",
        "not counted: 1 unreadable",
        "  red/broken.png: not_an_image: ",
    ):
        assert f"\n{line}" in shown.out
    assert f"measuring on {data}/val; --split names another split" in shown.err
    assert "6 images in " in shown.err
    assert shown.err.endswith(
        f"to see the mistakes: ghostclas eval --data {data} --model {model} --report report\n"
    )


def test_eval_of_another_part(model: Path, data: Path, capsys: Shown) -> None:
    assert run("eval", "--data", data, "--split", "train", "--model", model) == 0
    shown = capsys.readouterr()
    assert "100.00 %  3 of 3" in shown.out
    assert "measuring on" not in shown.err
    assert "--split train" in shown.err.splitlines()[-1]


def test_eval_of_an_archive_gives_the_same_figures(
    model: Path, data: Path, tmp_path: Path, capsys: Shown
) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", data)
    figures = []
    for place in (data, archive):
        assert run("eval", "--data", place, "--model", model, "--json") == 0
        figures.append(json.loads(capsys.readouterr().out))
    for result in figures:
        del result["dataset"], result["bad"][0]["message"]
    assert figures[0] == figures[1]


def test_eval_json_is_one_line_and_the_same_again(model: Path, data: Path, capsys: Shown) -> None:
    lines = []
    for threads in ("1", "2"):
        options = ["--model", str(model), "--threads", threads, "--batch-size", "2", "--json"]
        assert run("eval", "--data", data, *options) == 0
        lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    assert lines[0].count("\n") == 1
    figures = json.loads(lines[0])
    assert (figures["images"], figures["correct_top1"], figures["top1"]) == (5, 4, 80.0)
    assert [image["code"] for image in figures["bad"]] == ["not_an_image"]


def test_eval_writes_the_report_and_names_it(model: Path, data: Path, tmp_path: Path, capsys: Shown) -> None:
    target = tmp_path / "report"
    assert run("eval", "--data", data, "--model", model, "--json", "--report", target) == 0
    shown = capsys.readouterr()
    assert shown.err.endswith(f"open: {target / 'index.html'}\n")
    assert json.loads((target / "report.json").read_text(encoding="utf-8")) == json.loads(shown.out)


def test_the_table_of_a_report_is_for_excel_when_asked(
    model: Path, data: Path, tmp_path: Path, capsys: Shown
) -> None:
    words = ["eval", "--data", str(data), "--model", str(model)]
    assert run(*words, "--excel") == 2
    assert "give --report DIR, too" in capsys.readouterr().err
    for options, begin in ((["--excel"], b"\xef\xbb\xbffile,"), ([], b"file,")):
        assert run(*words, "--report", tmp_path / "report", *options) == 0, "a report is replaced by the next"
        assert (tmp_path / "report" / "predictions.csv").read_bytes().startswith(begin)


def test_photos_that_the_model_has_seen_belong_to_a_report(model: Path, data: Path, capsys: Shown) -> None:
    assert run("eval", "--data", data, "--model", model, "--seen", data / "train") == 2
    assert "give --report DIR, too" in capsys.readouterr().err


def test_eval_records_what_it_measures_again(model: Path, data: Path, capsys: Shown) -> None:
    for _ in range(2):
        assert run("eval", "--data", data, "--model", model, "--record", "--json") == 0
        figures = json.loads(capsys.readouterr().out)
        (metric,) = Bundle.open(model).manifest.metrics
        assert (metric.dataset, metric.images, metric.top1) == ("shop/val", 5, figures["top1"])
        assert metric.through == figures["through"]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Six photos that are right and two that are wrong, one of these in each half."""
    colours = {"red": ["red", "red"], "green": ["green", "green", "red", "red"], "blue": ["blue", "blue"]}
    return colour_folder(tmp_path / "mixed", colours)


def test_eval_stores_the_temperature_that_fits(model: Path, mixed: Path, capsys: Shown) -> None:
    assert run("eval", "--data", mixed, "--model", model, "--fit-temperature", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert Bundle.open(model).postprocess.temperature == first["fitted"]["temperature"] != 1
    assert run("eval", "--data", mixed, "--model", model, "--json") == 0
    second = json.loads(capsys.readouterr().out)
    assert second["fitted"]["before"] == first["fitted"]["after"]
    assert second["confusion"] == first["confusion"]


def test_eval_both_records_and_fits(model: Path, mixed: Path, capsys: Shown) -> None:
    assert run("eval", "--data", mixed, "--model", model, "--record", "--fit-temperature") == 0
    manifest = Bundle.open(model).manifest
    assert len(manifest.metrics) == 1
    assert manifest.postprocess.temperature != 1
    shown = capsys.readouterr().err
    assert f"recorded in {model}: top-1 75.0 % on mixed" in shown
    assert f"stored in {model}: temperature " in shown
    assert "% on 4 images that it was not fitted on" in shown


def test_eval_says_before_the_work_what_cannot_be_written(
    model: Path, data: Path, tmp_path: Path, capsys: Shown
) -> None:
    archive = pack(Bundle.open(model), tmp_path / "colours.zip")
    assert run("eval", "--data", data, "--model", archive, "--record") == 4
    assert "archive" in capsys.readouterr().err
    assert run("eval", "--data", data, "--model", model, "--report", data) == 2
    shown = capsys.readouterr()
    assert "holds other files than a report, such as 'train'" in shown.err
    assert shown.out == ""


def test_eval_refuses_data_of_other_classes(model: Path, tmp_path: Path, capsys: Shown) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"], "violet": ["blue"]})
    assert run("eval", "--data", folder, "--model", model) == 3
    shown = capsys.readouterr()
    assert "'violet' (class 1)" in shown.err
    assert shown.out == ""


def test_eval_needs_data(capsys: Shown) -> None:
    assert run("eval") == 2
    assert "--data" in capsys.readouterr().err
    assert run("eval", "--data", "nowhere") == 3
    assert "nowhere" in capsys.readouterr().err


def test_compare_says_what_changed(model: Path, data: Path, tmp_path: Path, capsys: Shown) -> None:
    other = colour_bundle(tmp_path / "mixed", says={"red": "blue", "blue": "red"}).path
    assert run("compare", model, other, "--data", data) == 0
    shown = capsys.readouterr()
    for line in (
        "A  colours through onnxruntime ",
        "B  mixed through onnxruntime ",
        "top-1          A 80.00 %  B 20.00 %, -60.00 points",
        "only A right           3",
        "From A to B, 0 images gained and 3 lost: too few to tell from chance (p = 0.250).",
        "  red   -100.0 points  2 to 0 of 2",
        "only A is right\n  blue/0.png\n  red/0.png\n  red/1.png",
    ):
        assert f"\n{line}" in f"\n{shown.out}"
    assert shown.err.splitlines()[-1].startswith(
        f"to see the images: ghostclas compare {model} {other} --data"
    )


def test_compare_json_and_report_agree(model: Path, data: Path, tmp_path: Path, capsys: Shown) -> None:
    other = colour_bundle(tmp_path / "mixed", says={"red": "blue", "blue": "red"}).path
    target = tmp_path / "report"
    assert run("compare", model, other, "--data", data, "--json", "--report", target) == 0
    shown = capsys.readouterr()
    figures = json.loads(shown.out)
    assert figures["only_a_right"] == ["blue/0.png", "red/0.png", "red/1.png"]
    assert json.loads((target / "report.json").read_text(encoding="utf-8")) == figures
    assert shown.err.endswith(f"open: {target / 'index.html'}\n")


def test_compare_refuses_models_of_different_classes(
    model: Path, data: Path, tmp_path: Path, capsys: Shown
) -> None:
    other = colour_bundle(tmp_path / "two", ("red", "green")).path
    assert run("compare", model, other, "--data", data) == 4
    shown = capsys.readouterr()
    assert "'blue' (class 2)" in shown.err
    assert shown.out == ""
