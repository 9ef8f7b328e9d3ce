"""Compact bundles, which store their matrices once, in ``model.onnx``.

This keeps the built-in model below 10 MB; up to version 0.1 all fp16 bundles were compact. Their
``weights.safetensors`` holds the parameters with one dimension, a hundredth of all numbers. The matrices come
from the ONNX file, where norms are folded into them. Division by the norm's scale restores the trained
network, up to the rounding of the matrices.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import safetensors.torch
import torch
from torch import Tensor, nn

from ghostclas.bundle import WEIGHTS, Bundle
from ghostclas.errors import BundleError
from ghostclas.extras import require
from ghostclas.models.arranged import ARRANGEMENT, matrices_of
from ghostclas.models.folded import conv_norm_pairs, norm_scale
from ghostclas.models.registry import create_model

ELSEWHERE = "in the onnx file"
"""Metadata of the file: JSON of the names that it lacks. Each has null, or the name and the epsilon of the
norm that is folded into it."""

ARRANGED = "arrangement of the onnx file"
"""Further metadata if ``models.arranged`` made the ONNX file: the name of its arrangement."""


def save_compact_state(model: nn.Module, in_onnx: Collection[str], *, arranged: bool) -> bytes:
    """Return the content of ``weights.safetensors`` without the matrices ``in_onnx``.

    The ONNX file holds these folded, under the same names or in the ``arranged`` form.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    norms = {f"{conv}.weight": norm for conv, norm in conv_norm_pairs(model).items()}
    origins = {
        name: (norms[name], model.get_submodule(norms[name]).eps) if name in norms else None
        for name in sorted(in_onnx)
    }
    rest = {name: tensor for name, tensor in state.items() if name not in origins}
    notes = {ARRANGED: ARRANGEMENT} if arranged else {}
    return safetensors.torch.save(rest, {ELSEWHERE: json.dumps(origins), **notes})


def is_compact(notes: Mapping[str, str]) -> bool:
    """Return whether a ``weights.safetensors`` with this metadata lacks matrices."""
    return bool(notes.get(ELSEWHERE))


def compact_matrices(
    bundle: Bundle, state: Mapping[str, Tensor], notes: Mapping[str, str]
) -> dict[str, Tensor]:
    """Return the matrices that a compact bundle's state dict lacks, float32, without the folded norms.

    Raises:
        BundleError: the files do not verify, or do not belong together.
        MissingExtraError: the package that reads the ONNX file is not installed.
    """
    try:
        origins = json.loads(notes[ELSEWHERE])
        matrices = _onnx_matrices(bundle, notes.get(ARRANGED))
        return {name: _unfolded(matrices[name], norm, state) for name, norm in origins.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{bundle.path}: {WEIGHTS} and the ONNX file do not match: {error}") from None


def _unfolded(matrix: Tensor, norm: tuple[str, float] | None, state: Mapping[str, Tensor]) -> Tensor:
    if norm is None:
        return matrix.float()
    prefix, eps = norm
    of_norm = {key: state[f"{prefix}.{key}"].double() for key in ("weight", "running_var")}
    scale = norm_scale(of_norm, eps).view(-1, 1, 1, 1)
    if len(matrix) != len(scale):
        raise ValueError(f"a matrix of {len(matrix)} channels before {prefix}, which has {len(scale)}")
    # A scale of zero has erased the matrix; the network does not use it.
    return torch.where(scale == 0, 0.0, matrix.double() / scale).float()


def _onnx_matrices(bundle: Bundle, arrangement: str | None) -> dict[str, Tensor]:
    onnx = require("onnx", extra="train")
    content = bundle.file("onnx").read()
    try:
        tensors = onnx.load_model_from_string(content).graph.initializer
    except Exception as error:  # protobuf's DecodeError, which onnx does not export
        raise BundleError(f"{bundle.path}: its ONNX file cannot be read ({error})") from None
    matrices = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in tensors
        if tensor.data_location == onnx.TensorProto.DEFAULT and len(tensor.dims) > 1
    }
    if arrangement is None:
        return matrices
    if arrangement != ARRANGEMENT:
        raise BundleError(
            f"{bundle.path}: its matrices are arranged as {arrangement!r}, which this version cannot read; "
            "update ghostclas"
        )
    return matrices_of(matrices, create_model(bundle.spec))
