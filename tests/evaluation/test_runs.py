"""Runs side by side: every run is found, in whatever state it is, and damaged files harm nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import update_manifest
from ghostclas.errors import UsageError
from ghostclas.evaluation.runs import DRAWN, read_runs, write_runs
from ghostclas.pages import check_page
from ghostclas.spec import Metric
from tests.colours import colour_bundle
from tests.evaluation.past import past_run, past_runs

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return past_runs(tmp_path / "runs")


def test_all_runs_are_found_the_best_first(runs: Path) -> None:
    found = read_runs([runs])
    assert [each.name for each in found] == ["long", "student/distil", "short"]
    assert [each.top1 for each in found] == [60.0, 51.0, 40.0]
    assert [each.finished for each in found] == [True, False, False]
    assert found[1].interval is None
    first = found[0].as_dict()
    expected = {"epochs": 3, "best_epoch": 2, "planned_epochs": 3, "val_images": 200, "train_images": 1000}
    assert first.items() >= {**expected, "loss": 1.0, "seconds": 180.0, "batch_size": 64}.items()
    assert first["top1_interval"] == pytest.approx((53.1, 66.5), abs=0.1)
    assert [each.name for each in read_runs([runs / "long", runs, runs / "short"])] == [
        "long",
        "student/distil",
        "short",
    ], "a run that is named twice is one"


def test_runs_whose_files_are_damaged_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    for number, (name, content) in enumerate(
        [
            ("config.yaml", "a: [b\n"),
            ("config.yaml", "just text"),
            ("config.yaml", "model: 5\nschedule: [1]\nloop: {batch_size: {a: b}}\n"),
            ("data.json", "{"),
            ("data.json", '{"train": [], "val": {"images": "many"}}'),
            ("log.jsonl", '{"epoch": 1, "top1": "high", "loss": NaN, "seconds": [1]}\n'),
        ]
    ):
        (past_run(tmp_path / str(number), [50.0]) / name).write_text(content, encoding="utf-8")
    found = read_runs([tmp_path])
    assert len(found) == 6
    assert found[-1].top1 is None
    json.dumps([each.as_dict() for each in found])
    write_runs(found, tmp_path / "page")


def test_the_page_has_every_run_and_its_curves(runs: Path, tmp_path: Path) -> None:
    past_run(runs / "hostile", [10.0, 20.0], network=HOSTILE)
    shutil.move(runs / "hostile", runs / "<b>&")
    text = write_runs(read_runs([runs]), tmp_path / "page").read_text(encoding="utf-8")
    assert "4 runs" in text
    assert text.count("<tr><td>") == 4
    assert "53.1 to 66.5" in text
    assert text.count("<polyline") == 3 * 4
    assert "&lt;b&gt;&amp;" in text
    assert HOSTILE not in text
    assert "//" not in text.replace("</", ""), "it needs nothing from elsewhere"


def test_a_last_layer_alone_has_figures_and_no_curve(tmp_path: Path) -> None:
    """Its accuracy is in its bundle; an earlier version wrote no log."""
    metric = Metric(dataset="photos", images=50, top1=70.0, through="onnxruntime")
    past_run(tmp_path / "runs" / "whole", [60.0, 61.0])
    for name in ("older", "newer"):
        bundle = colour_bundle(tmp_path / "runs" / name / "bundle")
        update_manifest(bundle, metrics=[metric], provenance={"images": 200})
    entry = {"epoch": 0, "seconds": 7.5, "top1": 80.0, "top5": None, "best": True}
    (tmp_path / "runs" / "newer" / "log.jsonl").write_text(json.dumps(entry) + "\n", encoding="utf-8")
    found = read_runs([tmp_path / "runs"])
    assert [(each.name, each.top1, each.epochs) for each in found] == [
        ("newer", 80.0, 0),
        ("older", 70.0, 0),
        ("whole", 61.0, 2),
    ]
    figures = found[1].as_dict()
    assert (
        figures.items()
        >= {"train_images": 200, "val_images": 50, "network": "colours", "resolution": 32}.items()
    )
    assert found[1].interval == pytest.approx((56.2, 80.9), abs=0.1)
    text = write_runs(found, tmp_path / "page").read_text(encoding="utf-8")
    assert text.count("<polyline") == 3
    assert "has no epochs and no curve" in text
    text = write_runs(found[:2], tmp_path / "page").read_text(encoding="utf-8")
    assert "Curves" not in text


def test_a_manifest_that_is_damaged_leaves_its_run_without_figures(tmp_path: Path) -> None:
    for number, content in enumerate(
        ["{", "[]", '{"metrics": 5}', '{"metrics": [{"top1": "x", "images": true}], "spec": []}']
    ):
        (tmp_path / str(number) / "bundle").mkdir(parents=True)
        (tmp_path / str(number) / "bundle" / "manifest.json").write_text(content, encoding="utf-8")
    found = read_runs([tmp_path])
    assert [each.top1 for each in found] == [None] * 4
    write_runs(found, tmp_path / "page")


def test_more_runs_than_looks_are_in_the_table_alone(tmp_path: Path) -> None:
    for number in range(DRAWN + 2):
        past_run(tmp_path / "runs" / f"{number:02}", [float(number), float(number)])
    text = write_runs(read_runs([tmp_path / "runs"]), tmp_path / "page").read_text(encoding="utf-8")
    assert text.count("<polyline") == 3 * DRAWN
    assert f"The curves of the best {DRAWN} runs; 2 more are in the table only" in text


def test_what_is_no_folder_of_runs_is_refused(tmp_path: Path, runs: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="no training run with a finished epoch"):
        read_runs([runs / "empty", runs / "notes"])
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="somebody else"):
        check_page(tmp_path / "site")
    with pytest.raises(UsageError, match="is a file"):
        check_page(tmp_path / "site" / "index.html")
