"""What one photo costs, counted in the very file that is timed."""

from __future__ import annotations

from math import prod
from typing import Any

from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError, MissingExtraError
from ghostclas.extras import require


def count_macs(bundle: Bundle) -> int | None:
    """Return the multiply-adds of convolutions and matrix products of a bundle's network for one photo.

    Counted in its float ONNX file. ``None`` where there is none, or the package onnx is not installed.
    """
    try:
        onnx = require("onnx", extra="export")
        entry = next(
            (e for e in bundle.manifest.files if e.input and e.format == "onnx" and e.precision != "int8"),
            None,
        )
        if entry is None:
            return None
        model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(bundle.read(entry.path)))
    except (MissingExtraError, BundleError):
        return None
    shapes = _shapes(model.graph)
    return sum(_macs(node, shapes) for node in model.graph.node)


def _shapes(graph: Any) -> dict[str, list[int]]:
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        # A dimension without a value is the batch: one photo.
        shapes[value.name] = [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
    return shapes


def _macs(node: Any, shapes: dict[str, list[int]]) -> int:
    if node.op_type == "Conv":
        # Each output is a sum over the weight's input channels of its group and its window.
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type in ("Gemm", "MatMul"):
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
