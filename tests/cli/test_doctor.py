"""``doctor`` describes the installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.cli import main


def test_doctor_names_the_engines_and_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GHOSTCLAS_CACHE", str(tmp_path))
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "onnxruntime" in report["engines"]
    assert report["cache"] == str(tmp_path)
    assert report["packages"]["base"]["numpy"]
    assert set(report["packages"]) >= {"base", "train", "export", "demo"}
    assert main(["doctor"]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_doctor_imports_no_runtime_and_no_torch() -> None:
    code = (
        "import sys\nfrom ghostclas.cli import main\nassert main(['doctor', '--json']) == 0\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert {"torch", "onnxruntime", "openvino"} & set(done.stderr.split()) == set()
