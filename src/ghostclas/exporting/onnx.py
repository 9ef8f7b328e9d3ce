"""ONNX, the format that every bundle has: from uint8 photos to logits in one file.

The graph takes ``images``, uint8 ``[N, H, W, 3]`` RGB with any N. It gives ``logits``, float32 ``[N, C]``,
and ``features``, float32 ``[N, D]``: the input of the last layer, which costs nothing unless requested.
Networks whose last layer is not linear give logits alone. Its ``metadata_props`` name the classes and the
preprocessing, see ``metadata``.

Normalisation is a subtraction and a multiplication before the first convolution. Folded into that
convolution it would be wrong at the borders, where padding is zero after normalisation, and no faster
(measured: the convolution costs a hundred times more). Batch norms are folded into the convolutions before
them, weights too small for a normal float become zero, and ``models.arranged`` rearranges GhostNet.

**Precision.** A bundle holds its numbers twice, for the runtime and for further training. In ``fp16`` both
are half as large: matrices are rounded to float16, first those of ``weights.safetensors`` and then, folded,
those of ``model.onnx``. Each is followed by a cast, which runtimes evaluate at loading, so the computation
stays in float32 and as fast. The reference of an fp16 bundle comes from the rounded network, which the
bundle holds. The provenance records under ``rounding`` how far rounding moved the logits.

**Checks** all precede the target: folding is compared with the given network, ONNX's own checker reads the
file, and ONNX Runtime, reading a complete bundle, is compared with torch.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Collection, Mapping, Sequence
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
from ghostclas.exporting.conversion import (
    FEATURES,
    INPUT,
    LOGITS,
    Step,
    features_output,
    image_input,
    logits_output,
    silent,
)
from ghostclas.exporting.metadata import describe, describe_onnx
from ghostclas.exporting.network import (
    Normalised,
    WithFeatures,
    feature_size,
    matrices_of,
    round_matrices,
)
from ghostclas.exporting.onnx_file import check_graph, quiet, store_as_fp16
from ghostclas.exporting.provenance import made_now
from ghostclas.exporting.reference import make_reference
from ghostclas.extras import require
from ghostclas.models.arranged import arrange
from ghostclas.models.branches import has_branches
from ghostclas.models.compact import save_compact_state
from ghostclas.models.folded import flush_subnormals, fold_batch_norms
from ghostclas.models.saved import save_state
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
    compact: bool = False,
    postprocess: PostprocessSpec | None = None,
    metrics: Sequence[Metric] = (),
    provenance: Mapping[str, JsonValue] | None = None,
    step: Step = silent,
) -> Bundle:
    """Write a trained network as a bundle with an ONNX file, replacing a bundle at ``target``.

    Args:
        model: the network that ``spec`` describes, on any device, with its weights. It maps normalised float
            ``[N, 3, crop, crop]`` to logits ``[N, C]``; it is not changed.
        spec: the spec that rebuilds the network.
        classes: names in the order of the logits.
        preprocess: the preprocessing of a photo; mean and std become part of the file.
        target: the folder to write; see ``bundle.write_bundle``.
        precision: how weights are stored, ``"fp32"`` or ``"fp16"``; see the head of this module.
        compact: leave the matrices out of the weights of an fp16 bundle; see ``models.compact``. For a model
            that ships in a package: further training needs onnx and starts from rounded scales of norms.
        postprocess: the temperature and the threshold of unknown photos.
        metrics: measured accuracies.
        provenance: the origin of the model, as plain JSON; ``exported`` is added, see ``made_now``.
        step: called with each next step.

    Raises:
        UsageError: the number of classes differs from that of outputs, or there is no such precision.
        ExportError: the network cannot be written in this form, or the file answers differently.
        BundleError: ``target`` holds something other than a bundle.
    """
    if precision not in ("fp32", "fp16"):
        raise UsageError(f"there is no precision {precision!r} for ONNX; there are: fp32, fp16")
    if compact and (precision != "fp16" or has_branches(model)):
        raise UsageError(
            "only an fp16 bundle of a network without branches can be compact: its matrices are read from "
            "the ONNX file"
        )
    if len(classes) != spec.num_classes:
        raise UsageError(f"{len(classes)} classes were named for a network with {spec.num_classes} outputs")
    require("onnx", extra="export")
    trained = copy.deepcopy(model).cpu().float().eval()
    reference = make_reference(Normalised(trained, preprocess), preprocess)
    pixels = torch.from_numpy(reference.pixels)
    _check_outputs(reference.logits, spec)
    if precision == "fp16" and not compact:
        round_matrices(trained)
    step("folding its norms")
    folded = fold_batch_norms(trained).to(memory_format=torch.contiguous_format)
    flush_subnormals(folded)
    plain = _logits(Normalised(folded, preprocess), pixels)
    _compare(
        _logits(Normalised(trained, preprocess), pixels),
        plain,
        TOLERANCE["fp32"].max_abs,
        "folding its norms",
    )
    known = {**(provenance or {}), "exported": made_now("torch")}
    if precision == "fp16":
        round_matrices(folded)
        rounded = Normalised(folded, preprocess)
        max_abs, agreement = _difference(reference.logits, _logits(rounded, pixels))
        reference = make_reference(rounded, preprocess)
        # For a bundle that was rounded before, the provenance keeps the first rounding.
        known.setdefault("rounding", {"max_abs": max_abs, "top1_agreement": agreement})
    step("writing the graph with torch")
    arranged = arrange(folded)
    proto = to_onnx(Normalised(arranged, preprocess), crop=preprocess.crop, name=spec.name)
    stored: Collection[str] = ()
    if precision == "fp16":
        halves = {name: tensor.numpy() for name, tensor in matrices_of(arranged).items()}
        stored = store_as_fp16(proto, halves)
        if arranged is not folded:
            # A compact bundle restores all matrices or none.
            stored = matrices_of(folded) if len(stored) == len(halves) else ()
    describe_onnx(proto, describe(classes, preprocess))
    check_graph(proto)
    weights = (
        save_compact_state(trained, stored, arranged=arranged is not folded)
        if compact
        else save_state(trained, half=precision == "fp16")
    )
    files = {
        MODEL: FileContent(
            proto.SerializeToString(deterministic=True),
            "onnx",
            "fp16" if precision == "fp16" else "fp32",
            image_input(preprocess.crop),
            logits_output(len(classes)),
            features_output(feature_size(arranged)),
        ),
        WEIGHTS: FileContent(weights, "weights", "fp16" if precision == "fp16" and not compact else "fp32"),
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

    step("comparing ONNX Runtime with torch")
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        try:
            report = verify(write(Path(folder) / "bundle"), engines=("onnxruntime",))
        except BundleError as error:
            raise ExportError(f"the exported file cannot be used: {error}") from None
    return write(target, report.files)


def to_onnx(network: Normalised, *, crop: int, name: str) -> Any:
    """Return the network as an ``onnx.ModelProto`` with the graph and the weights alone.

    Weights have the names of the inner model's state dict. The output ``features`` exists if the network has
    a linear classifier.

    Raises:
        ExportError: torch cannot express the network in ONNX.
    """
    example = torch.zeros(2, crop, crop, 3, dtype=torch.uint8)
    has_features = feature_size(network.model) is not None
    try:
        with quiet():
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
    except Exception as error:  # the exporter passes on errors of the tracer, torch and onnxscript
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"torch cannot write this network as ONNX: {lines[0]}") from error
    assert program is not None
    return _cleaned(program.model_proto, name)


def _cleaned(proto: Any, name: str) -> Any:
    """Remove the exporter's traces: source paths, stack traces, the names of its passes."""
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
