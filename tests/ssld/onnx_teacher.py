"""A teacher of one layer, as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 32


def onnx_file(
    path: Path,
    *,
    channels_last: bool = False,
    kind: str = "float32",
    side: int | None = SIDE,
    batch: int | None = None,
) -> Path:
    """Write a network that gives the three channels' means as logits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = (
        [batch or "N", side or "H", side or "W", 3]
        if channels_last
        else [batch or "N", 3, side or "H", side or "W"]
    )
    axes = [1, 2] if channels_last else [2, 3]
    types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        ],
        "means",
        [helper.make_tensor_value_info("x", types[kind], shape)],
        [helper.make_tensor_value_info("means", TensorProto.FLOAT, [batch or "N", 3])],
        [numpy_helper.from_array(np.array(axes, np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(model, path)
    return path
