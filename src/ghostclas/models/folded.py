"""Batch norms folded into the convolutions before them.

At inference ``norm(conv(x))`` is one convolution: with ``s = gamma / sqrt(variance + eps)`` its weight is
``s * W`` and its bias ``beta - s * mean`` (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2). A runtime needs no more; training needs
the norms.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from ghostclas.models.branches import merge_branches


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, float32, on the CPU, without the norms that follow a convolution.

    What was trained in branches is merged. Pairs are found where the order is certain: next to each other in
    an ``nn.Sequential``. Everything is computed in float64. Convolutions keep their names and gain a bias;
    norms become ``nn.Identity``.
    """
    folded = copy.deepcopy(model).cpu().float().eval()
    merge_branches(folded)
    for conv_name, norm_name in conv_norm_pairs(folded).items():
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        state = {name: tensor.double() for name, tensor in norm.state_dict().items()}
        scale = norm_scale(state, norm.eps)
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


def norm_scale(norm: Mapping[str, Tensor], eps: float) -> Tensor:
    """Return by what a batch norm of this state multiplies each channel, ``[C]``."""
    scale = torch.rsqrt(norm["running_var"] + eps)
    return norm["weight"] * scale if "weight" in norm else scale


def conv_norm_pairs(model: nn.Module) -> dict[str, str]:
    """Name every convolution that a batch norm follows, and the norm."""
    found = {}
    for parent, container in model.named_modules():
        if isinstance(container, nn.Sequential):
            for (first, conv), (second, norm) in pairwise(container.named_children()):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    prefix = f"{parent}." if parent else ""
                    found[f"{prefix}{first}"] = f"{prefix}{second}"
    return found
