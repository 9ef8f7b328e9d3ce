"""The translator from ONNX to Paddle: every operator, and every family of networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from ghostclas.engines.table import is_installed

pytestmark = pytest.mark.skipif(not is_installed("paddle"), reason="paddlepaddle is not installed")

SIDE = 16

RUN = """
import os, sys
if sys.argv[1] == "legacy":
    os.environ["FLAGS_enable_pir_api"] = "0"
from pathlib import Path
import numpy as np
from ghostclas.engines.paddle import import_paddle, open_predictor, run_predictor
from ghostclas.errors import ExportError
from ghostclas.exporting.paddle_program import write_program

folder = Path(sys.argv[2])
prefix, suffix = folder / sys.argv[1], ".pdmodel" if sys.argv[1] == "legacy" else ".json"
try:
    write_program(folder / "graph.onnx", prefix)
except ExportError as error:
    raise SystemExit(f"ExportError: {error}")
predictor = open_predictor(
    import_paddle().inference, prefix.with_suffix(suffix), prefix.with_suffix(".pdiparams"), threads=1
)
np.save(f"{prefix}.npy", run_predictor(predictor, np.load(folder / "photos.npy")))
"""


def run_paddle(form: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One form needs one process: Paddle reads once which it writes."""
    command = [sys.executable, "-c", RUN, form, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def constant(name: str, value: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value), name)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(0, 0.3, shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def graph_of(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def every_operator() -> onnx.ModelProto:
    """A chain through every operator of the table, in the ways that networks use them."""
    node = helper.make_node
    most = 2**63 - 1
    nodes = [
        node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        node("Sub", ["floats", "mean"], ["centred"]),
        node("Div", ["centred", "spread"], ["normal"]),
        node("Conv", ["normal", "w.1", "b.1"], ["c.1"], pads=[0, 1, 2, 1], strides=[1, 1], dilations=[1, 1]),
        node("HardSwish", ["c.1"], ["h.1"]),
        node("Conv", ["h.1", "w.2"], ["c.2"], pads=[1, 1, 1, 1], group=8),
        node("BatchNormalization", ["c.2", "bn.1", "bn.22", "bn.333", "bn.4444"], ["normed"]),
        node("Relu", ["normed"], ["r.2"]),
        node("Split", ["r.2", "halves"], ["s.1", "s.2"], axis=1),
        node("Sigmoid", ["s.2"], ["s.3"]),
        node("Concat", ["s.1", "s.3"], ["joined"], axis=1),
        node("Pad", ["joined", "pads"], ["padded"]),
        node("Slice", ["padded", "starts", "ends", "axes"], ["inner"]),
        node("Slice", ["inner", "zero", "most", "two", "step"], ["every second"]),
        node("AveragePool", ["every second"], ["a.1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["a.1"], ["a.2"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("MaxPool", ["a.2"], ["m.1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("Shape", ["m.1"], ["outer sides"], start=0, end=2),
        node("Concat", ["outer sides", "inner sides"], ["all sides"], axis=0),
        node(
            "Resize",
            ["m.1", "", "", "all sides"],
            ["larger"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        node("GlobalAveragePool", ["larger"], ["g.1"]),
        node("HardSigmoid", ["g.1"], ["gate"], alpha=1 / 6, beta=0.5),
        node("Mul", ["larger", "gate"], ["gated"]),
        node("Clip", ["gated", "low", "high"], ["clipped"]),
        node("Clip", ["clipped", "low"], ["clipped again"]),
        node("ReduceMean", ["clipped again", "sides"], ["mean.1"], keepdims=1),
        node("Squeeze", ["mean.1", "sides"], ["flat.1"]),
        node("Unsqueeze", ["flat.1", "sides"], ["deep"]),
        node("Flatten", ["deep"], ["flat.2"]),
        node("ReduceMean", ["clipped again", "sides"], ["flat.3"], keepdims=0),
        node("ReduceMean", ["clipped again", "one"], ["over channels"], keepdims=1),
        node("ReduceMean", ["over channels", "all"], ["number"], keepdims=1),
        node("Reshape", ["number", "row"], ["number row"]),
        node("Add", ["flat.2", "flat.3"], ["sum"]),
        node("Add", ["sum", "number row"], ["sum.2"]),
        node("Identity", ["sum.2"], ["same"]),
        node("MatMul", ["same", "w.3"], ["m.3"]),
        node("Gemm", ["m.3", "w.4", "b.4"], ["logits"], transB=1),
    ]
    constants = [
        constant("mean", np.full((1, 3, 1, 1), 120, np.float32)),
        constant("spread", np.full((1, 3, 1, 1), 60, np.float32)),
        *(weights("w.1", 8, 3, 3, 3), weights("b.1", 8), weights("w.2", 8, 1, 3, 3)),
        *(weights("bn.1", 8), weights("bn.22", 8), weights("bn.333", 8)),
        constant("bn.4444", np.linspace(0.5, 2, 8, dtype=np.float32)),
        *(constant("halves", [4, 4]), constant("pads", [0, 1, 1, 2, 0, 3, 2, 1])),
        *(constant("starts", [1, 2]), constant("ends", [9, most]), constant("axes", [1, 2])),
        *(constant("zero", [0]), constant("most", [most]), constant("two", [3]), constant("step", [2])),
        constant("inner sides", [8, 5]),
        *(constant("low", np.float32(0.01)), constant("high", np.float32(0.9))),
        *(
            constant("sides", [2, 3]),
            constant("one", [1]),
            constant("all", [1, 2, 3]),
            constant("row", [-1, 1]),
        ),
        *(weights("w.3", 8, 6), weights("w.4", 4, 6), weights("b.4", 4)),
    ]
    return graph_of(nodes, constants)


@pytest.mark.parametrize("form", ["json", "legacy"])
def test_every_operator_computes_what_onnx_does(form: str, tmp_path: Path) -> None:
    from ghostclas.exporting.paddle_program import OPERATORS

    model = every_operator()
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} == set(OPERATORS)
    photos = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    onnx.save_model(model, tmp_path / "graph.onnx")
    np.save(tmp_path / "photos.npy", photos)
    done = run_paddle(form, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"images": photos})
    assert np.ptp(wanted, axis=0).min() > 0.01
    np.testing.assert_allclose(np.load(tmp_path / f"{form}.npy"), wanted, rtol=0, atol=1e-4)
