"""Another last layer for a bundle: other classes on the features of its network. Needs no torch.

The layer is replaced in the ONNX graph and in ``weights.safetensors``, so that the new bundle exports to
other formats and is trained on like any other. What else lies in the old bundle stays behind.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from ghostclas.bundle import REFERENCE, WEIGHTS, Bundle, FileContent, FileParity, write_bundle
from ghostclas.errors import BundleError, ExportError, UsageError
from ghostclas.exporting.conversion import FEATURES, LOGITS, features_output, image_input, logits_output
from ghostclas.exporting.metadata import describe, describe_onnx
from ghostclas.exporting.onnx_file import check_graph, round_to_half
from ghostclas.exporting.reference import draw_reference
from ghostclas.extras import require
from ghostclas.verification import verify

Float32 = NDArray[np.float32]
Embed = Callable[[NDArray[np.uint8]], Float32]

MODEL = "model.onnx"
_WEIGHT, _BIAS = "classifier.weight", "classifier.bias"
_HEAD_WEIGHT, _HEAD_BIAS = "head.conv.weight", "head.conv.bias"
_HEAD_NORM = {
    "head.norm.weight": 1.0,
    "head.norm.bias": 0.0,
    "head.norm.running_mean": 0.0,
    "head.norm.running_var": 1.0,
}


def with_pooled_features(bundle: Bundle, target: str | Path) -> Bundle | None:
    """Write ``bundle`` with its pooled maps as features into the folder ``target``, without a reference.

    GhostNet maps the P pooled channels of its last maps to the features, by a convolution and a ReLU. That
    layer knows the classes that the network was trained on; for other classes, the P channels themselves are
    better features. They are not negative. So with the identity as the
    convolution they pass through the layer, and the network remains what its spec says; the other features
    become 0.

    Returns:
        The bundle, whose logits mean nothing, for ``with_classifier``; or ``None`` if the network is another.
    """
    onnx = require("onnx", extra="fast")
    file = bundle.file("onnx")
    proto = onnx.load_model_from_string(file.read())
    size = _pass_through(onnx, proto)
    if size is None:
        return None
    check_graph(proto)
    entry = file.entry
    files = {
        MODEL: FileContent(
            proto.SerializeToString(deterministic=True),
            "onnx",
            entry.precision,
            entry.input,
            entry.output,
            entry.features,
        )
    }
    stored = next((entry for entry in bundle.manifest.files if entry.path == WEIGHTS), None)
    if stored is not None:
        channels, pooled = size
        identity = np.eye(channels, pooled, dtype=np.float32)[:, :, None, None]
        layer: dict[str, Float32] = {_HEAD_WEIGHT: identity, _HEAD_BIAS: np.zeros(channels, np.float32)}
        layer |= {name: np.full(channels, value, np.float32) for name, value in _HEAD_NORM.items()}
        files[WEIGHTS] = FileContent(_other_weights(bundle, layer), "weights", stored.precision)
    return write_bundle(
        target,
        name=bundle.name,
        spec=bundle.spec,
        classes=bundle.classes,
        preprocess=bundle.preprocess,
        files=files,
    )


def with_classifier(
    bundle: Bundle,
    target: str | Path,
    *,
    weight: Float32,
    bias: Float32,
    classes: Sequence[str],
    embed: Embed,
    provenance: Mapping[str, JsonValue] | None = None,
) -> Bundle:
    """Write ``bundle`` with another last layer into the folder ``target``, in place of a bundle there.

    Args:
        bundle: an open bundle whose ONNX file has the output ``features``.
        target: the folder to write; see ``bundle.write_bundle``.
        weight: float32 ``[C, D]``; in an fp16 bundle it is rounded to float16.
        bias: float32 ``[C]``.
        classes: C names, in the order of the rows.
        embed: the features of the bundle, uint8 ``[N, crop, crop, 3]`` to float32 ``[N, D]``, for the
            reference.
        provenance: the origin of the model, as plain JSON.

    Raises:
        UsageError: the last layer of the file is not one matrix on its features.
        ExportError: the file answers differently.
        BundleError: ``target`` holds something other than a bundle.
        MissingExtraError: the package onnx is not installed.
    """
    onnx = require("onnx", extra="fast")
    file = bundle.file("onnx")
    if file.entry.precision == "fp16":
        weight = round_to_half(_WEIGHT, weight)
    proto = onnx.load_model_from_string(file.read())
    _replace_layer(onnx, bundle, proto, weight, bias)
    describe_onnx(proto, describe(classes, bundle.preprocess))
    check_graph(proto)
    wide, shift = weight.astype(np.float64).T, bias.astype(np.float64)

    def logits(pixels: NDArray[np.uint8]) -> Float32:
        return (embed(pixels).astype(np.float64) @ wide + shift).astype(np.float32)

    crop = bundle.preprocess.crop
    files = {
        MODEL: FileContent(
            proto.SerializeToString(deterministic=True),
            "onnx",
            file.entry.precision,
            image_input(crop),
            logits_output(len(classes)),
            features_output(weight.shape[1]),
        )
    }
    stored = next((entry for entry in bundle.manifest.files if entry.path == WEIGHTS), None)
    if stored is not None:
        content = _other_weights(bundle, {_WEIGHT: weight, _BIAS: bias})
        files[WEIGHTS] = FileContent(content, "weights", stored.precision)
    reference = draw_reference(logits, bundle.preprocess)
    files[REFERENCE] = FileContent(reference.to_bytes(), "reference")

    def write(folder: str | Path, parity: Sequence[FileParity] = ()) -> Bundle:
        return write_bundle(
            folder,
            name=bundle.name,
            spec=bundle.spec.model_copy(update={"num_classes": len(classes)}),
            classes=classes,
            preprocess=bundle.preprocess,
            files=files,
            provenance=provenance,
            parity=parity,
        )

    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        try:
            report = verify(write(Path(folder) / "bundle"), engines=("onnxruntime",), made_here=True)
        except BundleError as error:
            raise ExportError(f"the file with another last layer cannot be used: {error}") from None
    return write(target, report.files)


def _replace_layer(onnx: Any, bundle: Bundle, proto: Any, weight: Float32, bias: Float32) -> None:
    """Put the layer into the graph, in place: a Gemm from the features to the logits."""
    graph = proto.graph
    last = next((node for node in graph.node if list(node.output) == [LOGITS]), None)
    settings = {a.name: onnx.helper.get_attribute_value(a) for a in last.attribute} if last else {}
    if last is None or last.op_type != "Gemm" or last.input[0] != FEATURES or not settings.get("transB"):
        raise UsageError(
            f"{bundle.path}: its last layer is not one matrix on its features, and cannot be replaced; "
            "train the whole network instead, without --fast"
        )
    _set_matrix(onnx, graph, last.input[1], weight)
    if len(last.input) == 2:
        # A bias of zeros is left out.
        last.input.append(_BIAS)
        graph.initializer.append(onnx.numpy_helper.from_array(bias, _BIAS))
    else:
        _set_matrix(onnx, graph, last.input[2], bias)
    for value in graph.output:
        if value.name == LOGITS:
            value.type.tensor_type.shape.dim[1].dim_value = len(bias)


def _pass_through(onnx: Any, proto: Any) -> tuple[int, int] | None:
    """Make the layer between pooling and features the identity, in place; return its channels out and in.

    ``None``, and nothing changes, unless the layer is a convolution over the mean of maps that a ReLU gave,
    with a ReLU behind it.
    """
    graph = proto.graph
    made_by = {output: node for node in graph.node for output in node.output}
    chain, name = [], FEATURES
    for kinds in (("Reshape", "Flatten"), ("Relu",), ("Conv",), ("ReduceMean",), ("Relu",)):
        node = made_by.get(name)
        if node is None or node.op_type not in kinds:
            return None
        chain.append(node)
        name = node.input[0]
    conv = chain[2]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weight = tensors.get(_stored(graph, conv.input[1]))
    if weight is None or weight.name != _HEAD_WEIGHT or weight.dims[0] < weight.dims[1]:
        return None
    channels, pooled = weight.dims[:2]
    _set_matrix(onnx, graph, conv.input[1], np.eye(channels, pooled, dtype=np.float32)[:, :, None, None])
    if len(conv.input) > 2:
        _set_matrix(onnx, graph, conv.input[2], np.zeros(channels, np.float32))
    return channels, pooled


def _stored(graph: Any, name: str) -> str:
    """Return the tensor behind a value: an fp16 file casts its matrices."""
    return next((n.input[0] for n in graph.node if n.op_type == "Cast" and n.output[0] == name), name)


def _set_matrix(onnx: Any, graph: Any, name: str, values: Float32) -> None:
    """Put ``values`` into the tensor behind a value, in the type that it has."""
    stored = _stored(graph, name)
    tensor = next(tensor for tensor in graph.initializer if tensor.name == stored)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(dtype), stored))


def _other_weights(bundle: Bundle, layer: Mapping[str, Float32]) -> bytes:
    """Return ``weights.safetensors`` with other values for a layer; a compact file lacks the matrices."""
    from safetensors.numpy import load, save

    content = bundle.read(WEIGHTS)
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        notes = {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}
        if _BIAS not in tensors:
            raise ValueError(f"it has no {_BIAS}")
    except Exception as error:  # of another package and of json, which depends on where the damage is
        raise BundleError(f"{bundle.path}: {WEIGHTS} cannot be used ({str(error)[:160]})") from None
    for name, values in layer.items():
        if name in tensors:
            tensors[name] = values.astype(tensors[name].dtype)
    return save(tensors, notes or None)
