"""ONNX, the format that every bundle has: from uint8 photos to logits in one file.

The graph takes ``images``, uint8 ``[N, H, W, 3]`` RGB with any N, and gives ``logits``, float32 ``[N, C]``,
and ``features``, float32 ``[N, D]``: what the last layer takes, which costs nothing where nobody asks for it.
Networks whose last layer is not linear give logits alone.
Normalisation is part of it, as a subtraction and a multiplication before the first convolution: folded into
that convolution it would be wrong at the borders, where padding is zero after normalisation and not before,
and no faster (measured; the convolution costs a hundred times more). Batch norms are folded into the
convolutions before them, weights too small for a normal float are set to zero, and GhostNet is put as
``models.arranged`` says.

**Precision.** ``fp32`` bundles hold everything in full, the weights twice: as the runtime reads them and as
training continues from them. ``fp16`` is the small form, half a runtime file and next to nothing for
training: matrices are rounded to float16 and stored once, in ``model.onnx``, with a cast that runtimes carry
out while loading, so that arithmetic stays float32 and as fast; ``weights.safetensors`` keeps only norms and
biases, and ``models.folded.bundle_state`` puts the network together again, norms apart. The reference of an
fp16 bundle comes from the rounded network, which is what the bundle holds; how far rounding moved its logits
is in the bundle's provenance, under ``rounding``.

**Checks**, all before anything appears at the target: folding against the network that was given, the file
against ONNX's own checker, and ONNX Runtime, reading a complete bundle, against torch.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor, nn

from ghostclas import __version__
from ghostclas.bundle import REFERENCE, WEIGHTS, Bundle, FileContent, FileParity, write_bundle
from ghostclas.errors import BundleError, ExportError, UsageError
from ghostclas.exporting.conversion import Conversion, Written
from ghostclas.exporting.network import (
    FEATURES,
    INPUT,
    LOGITS,
    Normalised,
    WithFeatures,
    feature_size,
    features_port,
    logits_port,
    photos_port,
)
from ghostclas.exporting.reference import make_reference
from ghostclas.extras import require
from ghostclas.models.arranged import arrange
from ghostclas.models.folded import flush_subnormals, fold_batch_norms, save_state
from ghostclas.spec import Metric, ModelSpec, PostprocessSpec, PreprocessSpec
from ghostclas.verification import TOLERANCE, logit_differences, verify

Float32: TypeAlias = NDArray[np.float32]

MODEL = "model.onnx"
OPSET = 18

_PREFIX = "model."
_IR_VERSION = 10


def export_bundle(
    model: nn.Module,
    spec: ModelSpec,
    classes: Sequence[str],
    preprocess: PreprocessSpec,
    target: str | Path,
    *,
    precision: str = "fp32",
    postprocess: PostprocessSpec | None = None,
    metrics: Sequence[Metric] = (),
    provenance: Mapping[str, JsonValue] | None = None,
) -> Bundle:
    """Write a trained network as a bundle with an ONNX file, in place of a bundle that is there.

    Args:
        model: the network that ``spec`` describes, on any device, with the weights to ship. It maps
            normalised float ``[N, 3, crop, crop]`` to logits ``[N, C]``; it is not changed.
        spec: what rebuilds it.
        classes: names in the order of the logits.
        preprocess: from a photo to its input; mean and std become part of the file.
        target: the folder to write; see ``bundle.write_bundle``.
        precision: how weights are stored, ``"fp32"`` or ``"fp16"``; this module says what follows from it.
        postprocess: from logits to scores.
        metrics: accuracies that were measured.
        provenance: where the model comes from, as plain JSON.

    Raises:
        UsageError: the classes are not as many as the outputs, or there is no such precision.
        ExportError: the network cannot be written in this form, or the file answers differently.
        BundleError: there is something else than a bundle at ``target``.
    """
    if precision not in ("fp32", "fp16"):
        raise UsageError(f"there is no precision {precision!r} for ONNX; there are: fp32, fp16")
    if len(classes) != spec.num_classes:
        raise UsageError(f"{len(classes)} classes were named for a network with {spec.num_classes} outputs")
    onnx = require("onnx", extra="export")
    trained = copy.deepcopy(model).cpu().float().eval()
    folded = fold_batch_norms(trained).to(memory_format=torch.contiguous_format)
    flush_subnormals(folded)
    original = Normalised(trained, preprocess)
    reference = make_reference(original, preprocess)
    pixels = torch.from_numpy(reference.pixels)
    _check_outputs(reference.logits, spec)
    plain = _logits(Normalised(folded, preprocess), pixels)
    _compare(reference.logits, plain, TOLERANCE["fp32"].max_abs, "folding its norms")
    known = dict(provenance or {})
    if precision == "fp16":
        _round_to_half(_matrices(folded))
        rounded = Normalised(folded, preprocess)
        max_abs, agreement = _difference(reference.logits, _logits(rounded, pixels))
        reference = make_reference(rounded, preprocess)
        # Of a bundle that was rounded before, that first rounding is the one to tell of.
        known.setdefault("rounding", {"max_abs": max_abs, "top1_agreement": agreement})
    arranged = arrange(folded)
    proto = to_onnx(Normalised(arranged, preprocess), crop=preprocess.crop, name=spec.name)
    stored: Collection[str] = ()
    if precision == "fp16":
        stored = store_as_fp16(proto, _matrices(arranged))
        if arranged is not folded:
            # Put together again, they are all there or none is.
            stored = _matrices(folded) if len(stored) == len(_matrices(arranged)) else ()
    _check(onnx, proto)
    files = {
        MODEL: FileContent(
            proto.SerializeToString(deterministic=True),
            "onnx",
            "fp16" if precision == "fp16" else "fp32",
            photos_port(preprocess.crop),
            logits_port(len(classes)),
            features_port(feature_size(arranged)),
        ),
        WEIGHTS: FileContent(save_state(trained, stored, arranged=arranged is not folded), "weights"),
        REFERENCE: FileContent(reference.to_bytes(), "reference"),
    }

    def write(folder: str | Path, parity: Sequence[FileParity] = ()) -> Bundle:
        return write_bundle(
            folder,
            name=spec.name,
            spec=spec,
            classes=classes,
            preprocess=preprocess,
            postprocess=postprocess,
            files=files,
            metrics=metrics,
            provenance=known,
            parity=parity,
        )

    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        try:
            report = verify(write(Path(folder) / "bundle"), engines=("onnxruntime",))
        except BundleError as error:
            raise ExportError(f"the exported file cannot be used: {error}") from None
    return write(target, report.files)


def to_onnx(network: Normalised, *, crop: int, name: str) -> Any:
    """Return the network as an ``onnx.ModelProto`` that holds the graph and the weights, and nothing else.

    Weights have the names of the inner model's state dict. The output ``features`` is there where the network
    has a linear classifier.

    Raises:
        ExportError: torch cannot express the network in ONNX.
    """
    example = torch.zeros(2, crop, crop, 3, dtype=torch.uint8)
    has_features = feature_size(network.model) is not None
    try:
        with _quiet():
            program = torch.onnx.export(
                (WithFeatures(network) if has_features else network).eval(),
                (example,),
                input_names=[INPUT],
                output_names=[LOGITS, FEATURES] if has_features else [LOGITS],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever the tracer, torch or onnxscript ran into
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"torch cannot write this network as ONNX: {lines[0]}") from error
    assert program is not None
    return _cleaned(program.model_proto, name)


def store_as_fp16(proto: Any, matrices: Mapping[str, Tensor]) -> Collection[str]:
    """Store those of ``matrices`` that the graph has as float16, in place, and return their names.

    A cast to float32 follows each. The values must be float16 numbers already.
    """
    onnx = require("onnx", extra="export")
    casts = []
    for tensor in proto.graph.initializer:
        wanted = matrices.get(tensor.name)
        if wanted is None or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if not np.array_equal(values, wanted.numpy()):
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


def in_full(proto: Any) -> Any:
    """Undo ``store_as_fp16``, in place, and return the graph: float32 tensors, and no casts of them."""
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


def without_features(proto: Any) -> Any:
    """Remove the output ``features``, in place, and return the graph."""
    outputs = [value for value in proto.graph.output if value.name != FEATURES]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    return proto


def convert(job: Conversion) -> list[Written]:
    """Write the graph that the bundle has in another precision, for ``export.formats``."""
    onnx = require("onnx", extra="export")
    if job.precision == "int8":
        quantize_file(job)
    proto = onnx.load_model(job.onnx_file)
    if job.precision == "fp16":
        job.step("rounding the matrices")
        used = {node.input[1] for node in proto.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
        matrices = {
            tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
            for tensor in proto.graph.initializer
            if tensor.name in used
        }
        _round_to_half(matrices)
        for tensor in proto.graph.initializer:
            if tensor.name in matrices:
                tensor.CopyFrom(onnx.numpy_helper.from_array(matrices[tensor.name].numpy(), tensor.name))
        store_as_fp16(proto, matrices)
    job.step("checking the graph")
    _check(onnx, proto)
    path = f"model.{job.precision}.onnx"
    (job.folder / path).write_bytes(proto.SerializeToString(deterministic=True))
    return [
        Written(
            path=path,
            input=photos_port(job.crop),
            output=logits_port(job.num_classes),
            features=None if job.precision == "int8" else features_port(job.feature_size),
        )
    ]


def quantize_file(job: Conversion) -> None:
    """Quantize the graph at ``job.onnx_file``, in place.

    Static, with explicit nodes (QDQ): activations uint8, weights int8. Ranges are the extremes over the
    calibration photos.
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

    # Without the second output, which would keep the layer before it from being int8 through and through.
    graph = without_features(onnx.load_model(job.onnx_file))
    onnx.save_model(graph, job.onnx_file)
    kept = [
        node.name
        for node in graph.graph.node
        if any(part in f".{value}" for part in job.quantization.keep_float for value in node.input)
    ]
    job.step("quantizing with ONNX Runtime")
    target = job.folder / "quantized.onnx"
    with _quiet():
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


def _cleaned(proto: Any, name: str) -> Any:
    """Drop what the exporter leaves behind: source paths, stack traces, the names of its own passes."""
    graph = proto.graph
    graph.name = name
    proto.producer_name, proto.producer_version = "ghostclas", __version__
    proto.ir_version = min(proto.ir_version, _IR_VERSION)
    for field in ("doc_string", "domain", "model_version", "metadata_props", "functions"):
        if field == "functions" and len(proto.functions):
            raise ExportError(
                "torch wrote this network with functions of its own, which runtimes may not know"
            )
        proto.ClearField(field)
    for field in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{index}"
        for field in ("doc_string", "metadata_props"):
            node.ClearField(field)
        node.input[:] = [value.removeprefix(_PREFIX) for value in node.input]
        node.output[:] = [value.removeprefix(_PREFIX) for value in node.output]
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix(_PREFIX)
        for field in ("doc_string", "metadata_props"):
            tensor.ClearField(field)
    for value in (*graph.input, *graph.output):
        for field in ("doc_string", "metadata_props"):
            value.ClearField(field)
    return proto


def _check(onnx: Any, proto: Any) -> None:
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from None


def _check_outputs(logits: Float32, spec: ModelSpec) -> None:
    if logits.shape[1:] != (spec.num_classes,):
        raise ExportError(
            f"the network gives {list(logits.shape)}, not [N, {spec.num_classes}] as its spec says"
        )
    if not np.isfinite(logits).all():
        raise ExportError(
            "the network's logits are not finite numbers: its weights are damaged or its training diverged"
        )


def _compare(wanted: Float32, found: Float32, tolerance: float, what: str) -> None:
    max_abs, agreement = _difference(wanted, found)
    if not max_abs <= tolerance or agreement < 1:
        raise ExportError(
            f"{what} changes the network's answers: its logits differ by up to {max_abs:.2g}, "
            f"{tolerance:g} is allowed"
        )


def _difference(a: Float32, b: Float32) -> tuple[float, float]:
    """Return the largest difference and the fraction of images with the same best class."""
    return float(logit_differences(b, a).max()), float((a.argmax(axis=1) == b.argmax(axis=1)).mean())


def _logits(network: nn.Module, pixels: Tensor) -> Float32:
    with torch.inference_mode():
        return np.asarray(network(pixels).numpy())


def _matrices(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.ndim > 1}


def _round_to_half(matrices: Mapping[str, Tensor]) -> None:
    for name, tensor in matrices.items():
        tensor.copy_(tensor.half())
        if not tensor.isfinite().all():
            raise ExportError(f"{name} has values beyond the range of float16; export it with precision fp32")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence an exporter that reports its progress on every stream there is."""
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
