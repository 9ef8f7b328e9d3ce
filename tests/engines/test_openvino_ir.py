"""What OpenVINO would run without end is refused before it sees the graph."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, FileContent, add_files
from ghostclas.engines import open_engine
from ghostclas.engines.openvino_ir import check_ir
from ghostclas.errors import BundleError
from tests.engines.linear import needs_openvino
from tests.limited import run_python

NET = '<?xml version="1.0"?><net name="n" version="11"><layers>{}</layers></net>'
LAYER = '<layer id="0" name="x" type="{}" version="opset5"><data/></layer>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NET.format(LAYER.format("Loop")), "control flow, a layer of type Loop"),
        (NET.format(LAYER.format("TensorIterator")), "control flow"),
        (NET.format(LAYER.format("If")), "control flow"),
        (NET.format(LAYER.format("&#76;oop")), "control flow, a layer of type Loop"),
        (NET.format("<layer type='Other'><body/></layer>"), "a graph inside a layer"),
        (NET.format(LAYER.format("Relu") * 100_001), "more than 100,000 layers"),
        ('<!DOCTYPE net [<!ENTITY a "b">]>' + NET.format(""), "a document type"),
        ("<net>" * 100, "more than 32 levels"),
        ("<net>", "no XML in UTF-8"),
        ("", "no XML in UTF-8"),
    ],
)
def test_what_no_export_needs_is_refused(text: str, message: str) -> None:
    check_ir(NET.format(LAYER.format("Relu")).encode())
    with pytest.raises(ValueError, match=message):
        check_ir(text.encode())


def test_entities_are_not_expanded() -> None:
    code = """
from ghostclas.engines.openvino_ir import check_ir

entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 30))
for content in (f'<!DOCTYPE net [<!ENTITY e0 "x">{entities}]><net a="&e29;"/>'.encode(), b"<a>" * 30_000_000):
    try:
        check_ir(content)
    except ValueError as error:
        print(error)
"""
    done = run_python(code)
    assert done.stdout.splitlines() == ["a document type", "more than 67,108,864 bytes"]
    assert done.cpu_seconds < 5
    assert done.peak_bytes < 500e6


@needs_openvino
def test_the_engine_says_what_it_refused(full_bundle: Bundle, tmp_path: Path) -> None:
    bundle = Bundle.open(shutil.copytree(full_bundle.path, tmp_path / "b"))
    file = bundle.file("openvino")
    assert b'type="ReLU"' in file.read()
    changed = FileContent(
        file.read().replace(b'type="ReLU"', b'type="Loop"', 1),
        "openvino",
        input=file.entry.input,
        output=file.entry.output,
        features=file.entry.features,
    )
    changed_bundle = add_files(bundle, {file.entry.path: changed})
    with pytest.raises(BundleError, match=r"\.xml is refused and was not run: it holds control flow"):
        open_engine("openvino", changed_bundle)
