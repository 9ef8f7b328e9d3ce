"""A converter that cannot share a process with torch gets only the ONNX file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.formats import FORMATS, Format

CONVERTER = """
import json
import sys
from ghostclas.exporting.conversion import Written

def convert(job):
    try:
        import torch
        found = torch.__version__
    except ImportError as error:
        found = str(error)
    try:
        network = type(job.network).__name__
    except RuntimeError as error:
        network = str(error)
    graph = job.onnx_file.read_bytes()
    text = json.dumps([found, network, len(graph) > 1000])
    (job.folder / "made.json").write_text(text, encoding="utf-8")
    return [Written(path="made.json")]
"""


@pytest.mark.parametrize("isolated", [False, True])
def test_a_converter_that_is_isolated_gets_the_onnx_file_and_cannot_import_torch(
    isolated: bool, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    (tmp_path / "made_converter.py").write_text(CONVERTER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setitem(FORMATS, "made", Format("made_converter", isolated=isolated))
    made = json.loads(add_format(tiny_bundle, "made").read("made.json"))
    if isolated:
        halted = "import of torch halted; None in sys.modules"
        assert made == [halted, "a converter that is isolated from torch has only the ONNX file", True]
    else:
        assert made == [torch.__version__, "Normalised", True]


def test_the_formats_made_of_the_onnx_file_are_isolated() -> None:
    assert {name for name, row in FORMATS.items() if row.isolated} == {
        *("onnx", "openvino", "mnn", "paddle", "paddle_legacy", "paddlelite", "paddle2onnx"),
    }
