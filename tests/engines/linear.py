"""A model of one matrix, and its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ghostclas.bundle import Bundle, FileContent, TensorSpec, write_bundle
from ghostclas.engines import installed_engines
from ghostclas.spec import ModelSpec, PreprocessSpec, ResizeSpec

Kind: TypeAlias = Literal["float32", "float16", "int8", "uint8"]
SIDE = 32
ISOLATED = "isolated"
"""ONNX Runtime, as if it could not share a process with torch: a row that only these tests have."""


def linear_model(
    *,
    size: int = SIDE,
    dtype: int = TensorProto.UINT8,
    outputs: int = 2,
    weights: NDArray[np.float32] | None = None,
    logits: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model whose logits are weighted means of the photo; ``weights`` are float32 ``[3, outputs]``."""
    weights = np.ones((3, outputs), np.float32) if weights is None else weights
    outputs = weights.shape[1]
    product = "logits" if logits == TensorProto.FLOAT else "product"
    casts = [] if product == "logits" else [helper.make_node("Cast", [product], ["logits"], to=logits)]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], [product]),
            *casts,
        ],
        "linear",
        [helper.make_tensor_value_info("images", dtype, ["N", size, size, 3])],
        [helper.make_tensor_value_info("logits", logits, ["N", outputs])],
        [numpy_helper.from_array(np.array([1, 2]), "axes"), numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def bundle_of(
    content: bytes, target: Path, *, classes: tuple[str, ...] = ("a", "b"), dtype: Kind = "float32"
) -> Bundle:
    file = FileContent(
        content,
        "onnx",
        input=TensorSpec(name="images", dtype="uint8", layout="NHWC", shape=(None, SIDE, SIDE, 3)),
        output=TensorSpec(name="logits", dtype=dtype, layout="NC", shape=(None, len(classes))),
    )
    return write_bundle(
        target,
        name="linear",
        spec=ModelSpec(name="linear", num_classes=len(classes)),
        classes=classes,
        preprocess=PreprocessSpec(resize=ResizeSpec(short_side=SIDE), crop=SIDE),
        files={"model.onnx": file},
    )


needs_openvino = pytest.mark.skipif("openvino" not in installed_engines(), reason="OpenVINO is not installed")
