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
    assert report["machine"]["cores"] >= 1
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path) in shown
    facts = [line.split()[0] for line in shown.splitlines()[1:5]]
    assert facts == ["processor", "features", "cores", "memory"]


def test_doctor_folds_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = {"base": ["numpy"], "one": ["numpy", "no-such-package"], "two": ["nor-this", "nor-that"]}
    monkeypatch.setattr("ghostclas.cli.doctor._groups", lambda: groups)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("numpy") == 1
    assert "\ncomplete: base\n" in shown.out
    assert shown.out.endswith("extra  lacks\none    no-such-package\ntwo    nor-this, nor-that\n")
    assert shown.err == "to complete an extra: pip install 'ghostclas[EXTRA]'\n"


def test_doctor_imports_no_runtime_and_no_torch() -> None:
    code = (
        "import sys\nfrom ghostclas.cli import main\nassert main(['doctor', '--json']) == 0\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert {"torch", "onnxruntime", "openvino"} & set(done.stderr.split()) == set()
