"""``info`` shows the contents of a bundle."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, update_manifest
from ghostclas.cli import main
from ghostclas.spec import Metric


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


def test_info_leaves_a_run_s_settings_to_json(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(tiny_bundle.path, tmp_path / "trained")
    update_manifest(Bundle.open(path), provenance={"images": 300, "config": {"optimizer": {"lr": 0.4}}})
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert ["config", "see", "--json"] in [line.split() for line in shown]
    assert ["images", "300"] in [line.split() for line in shown]
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["config"] == {"optimizer": {"lr": 0.4}}


def test_info_tells_when_and_by_what_it_was_made(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"date": "2026-01-02", "ghostclas": "0.1.0", "torch": "2.9.0"}
    fast = {"date": "2026-01-03", "ghostclas": "0.1.0", "onnxruntime": "1.30", "scipy": "1.16"}
    metrics = [Metric(dataset="val", images=1200, top1=61.5, top5=None, through="onnxruntime")]
    update_manifest(tiny_bundle, provenance={"trained": made, "fast": fast}, metrics=metrics)
    assert main(["info", str(tiny_bundle.path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\ntrained +2026-01-02 by ghostclas 0\.1\.0 with torch 2\.9\.0\n", shown)
    assert re.search(r"\nfast +2026-01-03 by ghostclas 0\.1\.0 with onnxruntime 1\.30, scipy 1\.16\n", shown)
    assert re.search(
        r"\nmeasured on  images    top-1  top-5  through\nval .* 1,200  61\.50 % +-  onnxr", shown
    )
    assert re.search(r"\nnormalisation +inside the files: they take pixels from 0 to 255\n", shown)
