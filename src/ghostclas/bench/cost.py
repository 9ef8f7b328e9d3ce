"""The multiply-adds of one photo, counted in the measured file."""

from __future__ import annotations

from math import prod
from typing import Any

from numpy.typing import NDArray

from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError, MissingExtraError
from ghostclas.extras import require


def count_macs(bundle: Bundle) -> int | None:
    """Return the multiply-adds of convolutions and matrix products of a bundle's network for one photo.

    They are counted in its float ONNX file. Channels of zeros, such as padding of a block, do not count.
    ``None`` if there is no such file, or if the package onnx is not installed.
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
    shapes.update({name: _used(onnx.numpy_helper.to_array(w)) for name, w in _kernels(model.graph).items()})
    return sum(_macs(node, shapes) for node in model.graph.node)


def _kernels(graph: Any) -> dict[str, Any]:
    """Return the weights of the convolutions by the names of their inputs, also behind a cast."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    names = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    return {name: tensors[casts.get(name, name)] for name in names if casts.get(name, name) in tensors}


def _used(kernel: NDArray[Any]) -> list[int]:
    """Return the shape of ``[out, in, height, width]`` without the output and input channels of zeros."""
    outputs, inputs = kernel.any(axis=(1, 2, 3)).sum(), kernel.any(axis=(0, 2, 3)).sum()
    return [int(outputs), int(inputs), *kernel.shape[2:]]


def _shapes(graph: Any) -> dict[str, list[int]]:
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        # A dimension without a value is the batch: one photo.
        shapes[value.name] = [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
    return shapes


def _macs(node: Any, shapes: dict[str, list[int]]) -> int:
    if node.op_type == "Conv":
        # Each output is a sum over the weight's input channels of its group and its window.
        return prod(shapes[node.output[0]][2:]) * prod(shapes[node.input[1]])
    if node.op_type in ("Gemm", "MatMul"):
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
