"""``bench`` measures, reports and recommends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostclas.bench.results import read_results
from ghostclas.bundle import Bundle
from ghostclas.cli import main
from tests.bench.tiny import labelled_photos


@pytest.fixture
def labelled(tmp_path: Path, small_bundle: Bundle) -> Path:
    return labelled_photos(tmp_path, small_bundle)


def test_the_command_writes_a_report_that_can_be_read_again(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "--model", str(small_bundle.path), "--engine", "onnxruntime", "--rounds", "2"]
    report = tmp_path / "report"
    assert main([*words, "--threads", "1", "--batch", "1,2", "--latency-only", "--report", str(report)]) == 0
    shown = capsys.readouterr()
    assert "small" in shown.out
    assert "batch 2, 1 thread" in shown.out
    assert f"open: {report}" in shown.err
    assert [case.model for case in read_results(report).cases] == ["small"]
    assert "Photos a second" in (report / "index.html").read_text(encoding="utf-8")


def test_json_is_one_object_on_stdout(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "--model", str(small_bundle.path), "--engine", "onnxruntime", "--rounds", "1"]
    assert main([*words, "--threads", "1", "--batch", "1", "--latency-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["cores"] >= 1


def test_recommend_measures_and_chooses(
    small_bundle: Bundle, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "recommend", "--model", str(small_bundle.path), "--engine", "onnxruntime"]
    words += ["--data", str(labelled), "--rounds", "1"]
    assert main([*words, "--max-ms", "100000"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:6] == ["model", "engine", "precision", "px", "ms", "p95"]
    assert row.split()[:4] == ["small", "onnxruntime", "fp32", "64"]
    assert row.endswith("best within the time")
    assert header.index("engine") == row.index("onnxruntime")
    assert main([*words, "--max-ms", "0.000001"]) == 1
    assert "the fastest, small onnxruntime fp32 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "onnxruntim"], "did you mean 'onnxruntime'?"),
        (["--precision", "fp23"], "did you mean 'fp32'"),
        (["--precision", "int8"], "nothing here to measure"),
        (["--threads", "two"], "--threads takes numbers"),
        (["--batch", "0"], "--batch takes numbers"),
        (["--model", "nonsense"], "nonsense"),
        (["--size", "100"], "a multiple of 32 pixels"),
        (["dif"], "dif"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_measured(
    words: list[str], said: str, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [] if "--model" in words or words == ["dif"] else ["--model", str(small_bundle.path)]
    assert main(["bench", *model, *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
