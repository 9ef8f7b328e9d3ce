"""Convolutions with several branches in training and one kernel at inference.

Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021 (arXiv 2101.03697), section 3: each
branch has its own batch norm in training. At inference all branches are linear, and so is their sum: one
convolution with a bias, whose kernel is the sum of theirs.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from ghostclas.models.layers import ConvNorm

BRANCHES = 3


class BranchedConv(nn.Module):
    """The sum of three convolutions of the same shape, a 1x1 one and the input itself, each with a norm.

    Parameters and output are those of ``ConvNorm``. The 1x1 branch is left out if the others are 1x1, the
    input if its shape differs from the output's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()

        def branch(side: int) -> ConvNorm:
            return ConvNorm(in_channels, out_channels, side, stride=stride, groups=groups, act=False)

        self.convs = nn.ModuleList(branch(kernel) for _ in range(BRANCHES))
        self.scale = branch(1) if kernel > 1 else None
        self.skip = nn.BatchNorm2d(in_channels) if stride == 1 and in_channels == out_channels else None
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, H / stride, W / stride]``."""
        branches = [*self.convs, *(each for each in (self.scale, self.skip) if each is not None)]
        total: Tensor = branches[0](x)
        for branch in branches[1:]:
            total = total + branch(x)
        out: Tensor = self.act(total)
        return out

    def merged(self) -> nn.Sequential:
        """Return the same function in evaluation mode, in float64: ``conv`` with a bias, then ``act``."""
        first = self.convs[0]
        assert isinstance(first, ConvNorm)
        conv = copy.deepcopy(first.conv).double()
        kernel, bias = torch.zeros_like(conv.weight), torch.zeros(conv.out_channels, dtype=torch.float64)
        for branch in (*self.convs, *([self.scale] if self.scale is not None else [])):
            assert isinstance(branch, ConvNorm)
            gain, shift = _affine(branch.norm)
            _centre(kernel, branch.conv.weight.double() * gain.view(-1, 1, 1, 1))
            bias += shift
        if self.skip is not None:
            gain, shift = _affine(self.skip)
            channels = torch.arange(conv.out_channels)
            identity = torch.zeros(*kernel.shape[:2], 1, 1, dtype=torch.float64)
            identity[channels, channels % kernel.shape[1]] = gain.view(-1, 1, 1)
            _centre(kernel, identity)
            bias += shift
        conv.weight, conv.bias = nn.Parameter(kernel), nn.Parameter(bias)
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
        if not isinstance(self.act, nn.Identity):
            layers["act"] = self.act
        return nn.Sequential(layers)


def has_branches(model: nn.Module) -> bool:
    """Whether a part of ``model`` has branches."""
    return any(isinstance(module, BranchedConv) for module in model.modules())


def merge_branches(model: nn.Module) -> None:
    """Replace every ``BranchedConv`` in ``model`` by its one convolution, in place, on the CPU."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BranchedConv):
            dtype = next(module.parameters()).dtype
            with torch.no_grad():
                merged = module.merged()
            model.set_submodule(name, merged.to(dtype).train(module.training))


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the factor and the summand of a norm at inference, both float64 ``[C]``."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    return gain, norm.bias.double() - gain * norm.running_mean.double()


def _centre(kernel: Tensor, smaller: Tensor) -> None:
    """Add ``smaller`` to the centre of ``kernel``, both ``[out, in, side, side]``, in place."""
    margin = (kernel.shape[-1] - smaller.shape[-1]) // 2
    end = kernel.shape[-1] - margin
    kernel[:, :, margin:end, margin:end] += smaller
