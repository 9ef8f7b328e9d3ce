"""The verbs that show something: ``models``, ``info``, ``doctor``, ``verify``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from ghostclas.zoo import ZOO


def test_models_has_one_row_for_each_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == list(ZOO)
    assert header.split()[0] == "name"
    row = next(row for row in rows if row.startswith("ghostnet_x1_0 "))
    assert row.split() == [
        "ghostnet_x1_0",
        "PaddleClas",
        "5.18",
        "M",
        "141",
        "M",
        "282",
        "M",
        "20.8",
        "MB",
        "74.02",
        "91.65",
        "published",
    ]


def test_models_as_json_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == list(ZOO)
    for entry in entries:
        assert entry["flops"] == 2 * entry["macs"]
        assert entry["weight_bytes"] == 4 * entry["state_values"]


def test_info_shows_what_the_manifest_says(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(small_bundle.path)]) == 0
    shown = capsys.readouterr().out
    assert small_bundle.name in shown
    assert small_bundle.manifest.label_hash in shown
    assert small_bundle.classes[0] in shown
    for entry in small_bundle.manifest.files:
        assert f"{entry.path} " in shown
        assert entry.sha256[:12] in shown


def test_info_as_json_is_the_manifest(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(small_bundle.path), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest == json.loads(small_bundle.manifest.model_dump_json())


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_a_bundle_with_one_changed_byte_is_refused(
    verb: str, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small_bundle.path, broken)
    model = broken / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    assert main([verb, str(broken)]) == 4
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {broken}: model.onnx")


def test_verify_passes_what_was_exported(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small_bundle.path)]) == 0
    assert "model.onnx" in capsys.readouterr().out


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
