"""Rewriting of an ONNX file: in half precision, in int8, or without its features. Needs no torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle
from ghostclas.errors import ExportError
from ghostclas.exporting.conversion import (
    FEATURES,
    INPUT,
    Conversion,
    Written,
    features_output,
    image_input,
    logits_output,
)
from ghostclas.exporting.metadata import describe, describe_onnx
from ghostclas.extras import require

_WITH_MATRICES = ("Conv", "Gemm", "MatMul")


def convert(job: Conversion) -> list[Written]:
    """Write the bundle's graph in another precision."""
    onnx = require("onnx", extra="export")
    if job.precision == "int8":
        quantize_file(job)
    proto = onnx.load_model(job.onnx_file)
    if job.precision == "fp16":
        job.step("rounding the matrices")
        used = {node.input[1] for node in proto.graph.node if node.op_type in _WITH_MATRICES}
        matrices = {}
        for tensor in proto.graph.initializer:
            if tensor.name in used:
                rounded = round_to_half(tensor.name, onnx.numpy_helper.to_array(tensor))
                matrices[tensor.name] = rounded
                tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
        store_as_fp16(proto, matrices)
    describe_onnx(proto, describe(job.bundle.classes, job.bundle.preprocess))
    job.step("checking the graph")
    check_graph(proto)
    # The plain name belongs to the bundle's first file.
    path = f"model.{job.precision}.onnx"
    (job.folder / path).write_bytes(proto.SerializeToString(deterministic=True))
    return [
        Written(
            path=path,
            input=image_input(job.crop),
            output=logits_output(job.num_classes),
            features=None if job.precision == "int8" else features_output(job.feature_size),
        )
    ]


def round_to_half(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round float32 numbers to float16 numbers, returned as float32.

    Raises:
        ExportError: ``name`` has values beyond the range of float16.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ExportError(f"{name} has values beyond the range of float16; export it with precision fp32")
    return rounded


def store_as_fp16(proto: Any, matrices: Mapping[str, NDArray[np.float32]]) -> Collection[str]:
    """Store the ``matrices`` in the graph as float16, in place, and return their names.

    A cast to float32 follows each. The values must be float16 numbers already.
    """
    onnx = require("onnx", extra="export")
    casts = []
    for tensor in proto.graph.initializer:
        wanted = matrices.get(tensor.name)
        if wanted is None or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if not np.array_equal(values, wanted):
            continue
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name))
        casts.append(
            onnx.helper.make_node("Cast", [tensor.name], [f"{tensor.name}.fp32"], to=onnx.TensorProto.FLOAT)
        )
    names = {cast.input[0] for cast in casts}
    nodes = list(proto.graph.node)
    for node in nodes:
        node.input[:] = [f"{value}.fp32" if value in names else value for value in node.input]
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *nodes])
    return names


def store_as_fp32(proto: Any) -> Any:
    """Undo ``store_as_fp16``, in place, and return the graph: float32 tensors without casts."""
    onnx = require("onnx", extra="export")
    stored = {
        tensor.name: tensor
        for tensor in proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT16
    }
    casts = {
        node.output[0]: node.input[0]
        for node in proto.graph.node
        if node.op_type == "Cast" and node.input[0] in stored
    }
    for name in casts.values():
        values = onnx.numpy_helper.to_array(stored[name]).astype(np.float32)
        stored[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    nodes = [node for node in proto.graph.node if node.output[0] not in casts]
    for node in nodes:
        node.input[:] = [casts.get(value, value) for value in node.input]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def write_fp32_graph(bundle: Bundle, target: Path) -> None:
    """Write the bundle's graph with float32 weights."""
    onnx = require("onnx", extra="export")
    content = bundle.file("onnx").read()
    onnx.save_model(store_as_fp32(onnx.load_model_from_string(content)), target)


def without_features(proto: Any) -> Any:
    """Remove the output ``features``, in place, and return the graph."""
    outputs = [value for value in proto.graph.output if value.name != FEATURES]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    return proto


def quantize_file(job: Conversion) -> None:
    """Quantize the graph at ``job.onnx_file``, in place.

    The quantization is static, with explicit nodes (QDQ): activations uint8, weights int8. Ranges are the
    extremes over the calibration photos. The output ``features`` is left out, since it would keep the layer
    before it in float.
    """
    quantization = require("onnxruntime.quantization", extra="export")
    onnx = require("onnx", extra="export")
    assert job.quantization is not None
    job.step("reading the photos to calibrate on")
    photos = np.load(job.quantization.calibration)
    batches = iter([{INPUT: photos[i : i + 8]} for i in range(0, len(photos), 8)])

    class Photos(quantization.CalibrationDataReader):  # type: ignore[name-defined, misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    proto = without_features(onnx.load_model(job.onnx_file))
    onnx.save_model(proto, job.onnx_file)
    kept = [
        node.name
        for node in proto.graph.node
        if any(part in f".{value}" for part in job.quantization.keep_float for value in node.input)
    ]
    job.step("quantizing with ONNX Runtime")
    target = job.folder / "quantized.onnx"
    with quiet():
        quantization.quantize_static(
            str(job.onnx_file),
            str(target),
            Photos(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=job.quantization.per_channel,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
        )
    target.replace(job.onnx_file)


def check_graph(proto: Any) -> None:
    """Raise ExportError for a graph that ONNX's own checker refuses."""
    onnx = require("onnx", extra="export")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence an exporter, which reports progress on several streams."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
