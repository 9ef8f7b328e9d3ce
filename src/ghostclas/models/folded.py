"""Batch norms folded into the convolutions before them, and taken out again.

At inference ``norm(conv(x))`` is one convolution: with ``s = gamma / sqrt(variance + eps)`` its weight is
``s * W`` and its bias ``beta - s * mean`` (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2). A runtime needs no more; training needs
the norms. A small bundle therefore keeps its matrices once, folded (and of GhostNet as
``models.arranged`` puts them), in ``model.onnx``, and everything of one
dimension, a hundredth of them, in ``weights.safetensors``: dividing by ``s`` gives back the very network
that was trained, up to the rounding of the matrices.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from itertools import pairwise

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ghostclas.bundle import WEIGHTS, Bundle
from ghostclas.errors import BundleError
from ghostclas.extras import require
from ghostclas.models.arranged import ARRANGEMENT, matrices_of
from ghostclas.models.branches import has_branches, merge_branches
from ghostclas.models.registry import create_model

ELSEWHERE = "in the onnx file"
"""Metadata of a ``weights.safetensors`` that lacks matrices: JSON of their names, each with null or with the
name and the epsilon of the norm that is folded into it."""

ARRANGED = "arrangement of the onnx file"
"""Metadata beside it where the ONNX file holds them as ``models.arranged`` does: its name for that."""


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, float32, on the CPU, without the norms that follow a convolution.

    What was trained in branches is merged. Pairs are found where the order is certain: next to each other in
    an ``nn.Sequential``. Everything is computed in float64. Convolutions keep their names and gain a bias;
    norms become ``nn.Identity``.
    """
    folded = copy.deepcopy(model).cpu().float().eval()
    merge_branches(folded)
    for conv_name, norm_name in _pairs(folded).items():
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        state = {name: tensor.double() for name, tensor in norm.state_dict().items()}
        scale = _scale(state, norm.eps)
        before = 0.0 if conv.bias is None else conv.bias.detach().double()
        shift = state.get("bias", 0.0) + scale * (before - state["running_mean"])
        with torch.no_grad():
            conv.weight.copy_(conv.weight.double() * scale.view(-1, 1, 1, 1))
        conv.bias = nn.Parameter(shift.float())
        folded.set_submodule(norm_name, nn.Identity())
    return folded


def flush_subnormals(model: nn.Module) -> int:
    """Set the weights that are too small for a normal float32 to zero, in place; return how many there were.

    They contribute nothing, and some processors take a hundred times longer over them.
    """
    flushed = 0
    for tensor in model.state_dict().values():
        if tensor.dtype == torch.float32:
            subnormal = (tensor != 0) & (tensor.abs() < torch.finfo(torch.float32).tiny)
            flushed += int(subnormal.sum())
            tensor[subnormal] = 0
    return flushed


def save_state(model: nn.Module, elsewhere: Collection[str] = (), *, arranged: bool = False) -> bytes:
    """Return the content of ``weights.safetensors``: the network as it is trained, norms and all.

    It lacks the matrices called ``elsewhere``, which ``bundle_state`` takes from the ONNX file. They are
    folded there, under the same names or else ``arranged``. A network with branches is complete.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Branches cannot be told from the one convolution that the ONNX file has of them.
    if not elsewhere or has_branches(model):
        return safetensors.torch.save(state)
    norms = {f"{conv}.weight": norm for conv, norm in _pairs(model).items()}
    origins = {
        name: (norms[name], model.get_submodule(norms[name]).eps) if name in norms else None
        for name in sorted(elsewhere)
    }
    rest = {name: tensor for name, tensor in state.items() if name not in origins}
    notes = {ARRANGED: ARRANGEMENT} if arranged else {}
    return safetensors.torch.save(rest, {ELSEWHERE: json.dumps(origins), **notes})


def bundle_state(bundle: Bundle) -> dict[str, Tensor]:
    """Return the state dict from which the network of a bundle can be trained on.

    Raises:
        BundleError: the files do not verify, or do not hold it.
        MissingExtraError: the weights are in the ONNX file, and the package that reads it is not installed.
    """
    content = bundle.read(WEIGHTS)
    try:
        state = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        notes = header.get("__metadata__", {})
        elsewhere = json.loads(notes.get(ELSEWHERE, "{}"))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{bundle.path}: {WEIGHTS} is not a complete safetensors file ({error})") from None
    try:
        matrices = _matrices(bundle, notes.get(ARRANGED)) if elsewhere else {}
        return state | _unfold(matrices, elsewhere, state)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{bundle.path}: {WEIGHTS} and the ONNX file do not match: {error}") from None


def _unfold(
    matrices: Mapping[str, Tensor], norms: Mapping[str, tuple[str, float] | None], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    unfolded = {}
    for name, norm in norms.items():
        matrix = matrices[name].double()
        if norm is not None:
            prefix, eps = norm
            of_norm = {key: state[f"{prefix}.{key}"].double() for key in ("weight", "running_var")}
            scale = _scale(of_norm, eps).view(-1, 1, 1, 1)
            # What a norm multiplies by zero is lost, and was not used.
            matrix = torch.where(scale == 0, 0.0, matrix / scale)
        unfolded[name] = matrix.float()
    return unfolded


def _scale(norm: Mapping[str, Tensor], eps: float) -> Tensor:
    scale = torch.rsqrt(norm["running_var"] + eps)
    return norm["weight"] * scale if "weight" in norm else scale


def _pairs(model: nn.Module) -> dict[str, str]:
    """Name every convolution that a batch norm follows, and the norm."""
    found = {}
    for parent, container in model.named_modules():
        if isinstance(container, nn.Sequential):
            for (first, conv), (second, norm) in pairwise(container.named_children()):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    prefix = f"{parent}." if parent else ""
                    found[f"{prefix}{first}"] = f"{prefix}{second}"
    return found


def _matrices(bundle: Bundle, arrangement: str | None) -> dict[str, Tensor]:
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
