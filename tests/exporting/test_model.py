"""``export``: its result, its callbacks and its errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import ghostclas.exporting
from ghostclas.bundle import Bundle
from ghostclas.errors import ExportError, UsageError
from ghostclas.exporting import export
from ghostclas.exporting.additions import FormatResult


def test_export_does_the_work_when_it_is_called(small_bundle: Bundle, tmp_path: Path) -> None:
    told: list[FormatResult] = []
    bundle = export(small_bundle.path, ["openvino"], output=tmp_path / "new", on_result=told.append)
    assert Bundle.open(tmp_path / "new").file("openvino").entry.features is not None
    assert bundle.path == tmp_path / "new"
    (made,) = told
    assert made.format == "openvino"
    assert made.files == ("openvino/model.xml", "openvino/model.bin")
    assert {parity.engine for parity in made.compared} == {"openvino"}
    assert made.bundle.path == bundle.path


def test_a_format_that_fails_is_raised_and_the_others_are_there(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pnnx.py").write_text("raise RuntimeError('it rains')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ExportError, match=r"1 of 2 formats were not added .*\n +ncnn: .*it rains"):
        export(tiny_bundle.path, "ncnn, openvino,ncnn")
    assert {entry.format for entry in Bundle.open(tiny_bundle.path).manifest.files} >= {"onnx", "openvino"}
    with pytest.raises(ExportError, match=r"^ncnn: .*it rains"):
        export(tiny_bundle.path, ["ncnn"])


def test_no_format_at_all_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="name at least one format"):
        export(tiny_bundle.path, [])


def test_the_room_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'export_model'"):
        ghostclas.exporting.export_model  # noqa: B018
