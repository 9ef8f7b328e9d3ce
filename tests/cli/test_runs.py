"""``ghostclas runs``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.bundle import update_manifest
from ghostclas.cli import main
from ghostclas.spec import Metric
from tests.colours import colour_bundle
from tests.evaluation.past import past_runs


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return past_runs(tmp_path / "runs")


def test_it_needs_no_torch(runs: Path) -> None:
    program = (
        "import sys; from ghostclas.cli import main; code = main(['runs', sys.argv[1]]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(runs)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1].split()[:3] == ["long", "60.00", "%"]


def test_the_command_prints_a_table_json_or_a_page(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["run", "long", "student/distil", "short"]
    assert "1 of 3" in shown.out
    assert main(["runs", str(runs / "long"), "--json", "--report", "page"]) == 0
    shown = capsys.readouterr()
    assert [each["top1"] for each in json.loads(shown.out)] == [60.0]
    assert "open: page/index.html" in shown.err
    assert main(["runs", "nowhere"]) == 2


def test_a_last_layer_alone_has_no_number_of_epochs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metric = Metric(dataset="photos", images=50, top1=70.0, through="onnxruntime")
    update_manifest(colour_bundle(tmp_path / "runs" / "head" / "bundle"), metrics=[metric])
    assert main(["runs", str(tmp_path / "runs")]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert row.startswith("head")
    assert row[header.index("epochs") : header.index("epochs") + len("epochs")].strip() == ""
