"""An ONNX file in half precision, and in full precision again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ghostclas.bundle import Bundle
from ghostclas.engines.choice import load_file
from ghostclas.exporting import export
from ghostclas.exporting.additions import add_format
from tests.exporting.added import ENGINE, EXACT


@pytest.mark.parametrize("name", ["onnx", pytest.param("mnn", marks=pytest.mark.slow)])
def test_half_precision_halves_the_file_and_keeps_the_answers(name: str, tiny_bundle: Bundle) -> None:
    full = tiny_bundle if name == "onnx" else add_format(tiny_bundle, name)
    both = add_format(full, name, precision="fp16")
    sizes = {e.precision: e.bytes for e in both.manifest.files if e.format == name}
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    (result,) = [r for r in both.manifest.parity if "fp16" in r.file and r.engine == ENGINE.get(name, name)]
    assert result.ok
    assert 0 < result.max_abs < 0.05


@pytest.mark.slow
def test_a_half_precision_bundle_gives_full_graphs_to_other_formats(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    half = export(small_bundle.path, precision="fp16", output=tmp_path / "half")
    added = add_format(half, "openvino")
    reference = added.reference()
    logits = load_file("openvino", added.file("openvino")).run(reference.pixels)
    np.testing.assert_allclose(logits, reference.logits, rtol=0, atol=EXACT)
    graph = onnx.load_model_from_string(add_format(added, "onnx").read("model.fp32.onnx"))
    assert {tensor.data_type for tensor in graph.graph.initializer} <= {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT64,
    }
    assert not any(node.op_type == "Cast" and ".fp32" in node.output[0] for node in graph.graph.node)
