"""How a run learned: what its report shows."""

from __future__ import annotations

from pathlib import Path

import pytest

import ghostclas
from ghostclas.training.history import learned
from tests.training.runs import settings

ENTRIES = [
    {"epoch": 1, "loss": 2.0, "seconds": 60.0, "resolution": 32, "best": False},
    {"epoch": 2, "loss": 1.0, "seconds": 65.0, "resolution": 64, "top1": 50.0, "top5": 90.0, "best": True},
]


def test_the_report_of_a_run_has_its_curves_and_its_facts(tmp_path: Path) -> None:
    shown = learned(
        ENTRIES,
        settings(tmp_path, "schedule.epochs=4", "model.weights=default"),
        train_images=1200,
        val_images=100,
        device="NVIDIA H100",
        bad_images=3,
    )
    top1, loss = shown.charts
    assert [list(line.points) for line in top1.lines] == [[(2, 50)]], "top-1 has its axis for itself"
    assert (top1.lines[0].low[0], top1.lines[0].high[0]) == pytest.approx((40.4, 59.6), abs=0.1)
    assert "100 images" in top1.note
    assert [line.name for line in loss.lines] == ["training loss"]
    facts = shown.facts
    assert facts["Duration"] == "2m 05s without validation"
    assert facts["Epochs"] == "2 of 4, the best is 2"
    assert facts["Images"] == "1,200 to learn from, 100 to validate, 3 unreadable"
    assert facts["Started from"] == "default"
    assert facts["Size"].startswith("32, 64 px")
    assert facts["Hardware"].startswith("NVIDIA H100; ")
    assert facts["Versions"].startswith(f"ghostclas {ghostclas.__version__}, torch ")


def test_a_loss_of_the_validation_has_a_line(tmp_path: Path) -> None:
    entries = [{**entry, "val_loss": 1.5} for entry in ENTRIES]
    _, loss = learned(entries, settings(tmp_path), train_images=1, val_images=1).charts
    assert [line.name for line in loss.lines] == ["training loss", "validation loss"]
    assert loss.legend


def test_a_log_without_a_validation_has_the_curve_that_it_has(tmp_path: Path) -> None:
    shown = learned(ENTRIES[:1], settings(tmp_path), train_images=1, val_images=1)
    assert [chart.title for chart in shown.charts] == ["Training loss"]
    assert shown.facts["Started from"] == "random weights"
