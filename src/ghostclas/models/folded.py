"""Folding of batch norms into the preceding convolutions.

At inference ``norm(conv(x))`` is one convolution: with ``s = gamma / sqrt(variance + eps)`` its weight is
``s * W`` and its bias ``beta - s * mean`` (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2). Runtimes need only that convolution;
training needs the norms.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from ghostclas.models.branches import merge_branches


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, float32, on the CPU, with batch norms folded into their convolutions.

    Branches are merged. Pairs are taken where their order is certain: neighbours in an ``nn.Sequential``. The
    computation is in float64. Convolutions keep their names and get a bias; norms become ``nn.Identity``.
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
    """Set weights too small for a normal float32 to zero, in place; return their number.

    They contribute nothing, and some processors compute with them a hundred times slower.
    """
    flushed = 0
    for tensor in model.state_dict().values():
        if tensor.dtype == torch.float32:
            subnormal = (tensor != 0) & (tensor.abs() < torch.finfo(torch.float32).tiny)
            flushed += int(subnormal.sum())
            tensor[subnormal] = 0
    return flushed


def norm_scale(norm: Mapping[str, Tensor], eps: float) -> Tensor:
    """Return the factor of a batch norm with this state for each channel, ``[C]``."""
    scale = torch.rsqrt(norm["running_var"] + eps)
    return norm["weight"] * scale if "weight" in norm else scale


def conv_norm_pairs(model: nn.Module) -> dict[str, str]:
    """Return the name of every convolution before a batch norm, with the name of the norm."""
    found = {}
    for parent, container in model.named_modules():
        if isinstance(container, nn.Sequential):
            for (first, conv), (second, norm) in pairwise(container.named_children()):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    prefix = f"{parent}." if parent else ""
                    found[f"{prefix}{first}"] = f"{prefix}{second}"
    return found
