"""GhostNet arranged for processors: the same function, as the ONNX file of a bundle holds it.

Every ghost module ends by copying two halves into one tensor, which the next convolution reads once. Runtimes
copy slowly, and those that keep channels in blocks of a vector's width undo the blocks for it. Two changes
leave most of that out, and change no number but by the order of sums:

- Between the two ghost modules of a bottleneck the halves stay apart. What is done to each channel is done to
  both, and of the 1x1 convolution each has its columns: ``W [a; b] = W_a a + W_b b``.
- Every half is filled up to a multiple of ``LANES`` channels with zeros, so that halves are put together
  where one block of channels ends and the next begins.

``benchmarks/arrangement.py`` measures what it is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostclas.models.layers import GhostBottleneck, GhostModule, SqueezeExcite
from ghostclas.models.staged import StagedNetwork

LANES = 8

ARRANGEMENT = "halves apart, 8 lanes"
"""Names what this module does; whoever changes that gives it another name."""


@dataclass(frozen=True)
class Layout:
    """Where channels lie: channel ``i`` at ``places[i]`` of ``width``, zeros at the others."""

    places: Tensor
    width: int

    @classmethod
    def plain(cls, channels: int, width: int | None = None) -> Layout:
        """Return the one in which channels come first."""
        return cls(torch.arange(channels), width or channels)

    @classmethod
    def halves(cls, channels: int, width: int) -> Layout:
        """Return the one of two halves of ``width`` beside each other, each with half of the channels."""
        places = torch.arange(channels // 2)
        return cls(torch.cat([places, width + places]), 2 * width)


class ArrangedBottleneck(nn.Module):
    """A folded ``GhostBottleneck`` whose input lies as ``inputs`` says, and its output as ``outputs``.

    Input ``[N, inputs.width, H, W]``, output ``[N, outputs.width, H / stride, W / stride]``.
    """

    def __init__(self, block: GhostBottleneck, inputs: Layout) -> None:
        super().__init__()
        expand, project = block.expand, block.project
        assert isinstance(expand, GhostModule)
        assert isinstance(project, GhostModule)
        hidden = expand.out_channels // 2
        half = Layout.plain(hidden, _filled(hidden))
        out = project.out_channels // 2
        keeps = isinstance(block.shortcut, nn.Identity)
        result = Layout.plain(out, inputs.width // 2 if keeps else _filled(out))
        self.outputs = Layout.halves(2 * out, result.width)

        self.primary = nn.Sequential(_pointwise(_conv(expand.primary), inputs, half), nn.ReLU())
        self.cheap = nn.Sequential(_depthwise(_conv(expand.cheap), half), nn.ReLU())
        self.strided: nn.ModuleList | None = None
        if not isinstance(block.depthwise, nn.Identity):
            conv = _conv(block.depthwise)
            self.strided = nn.ModuleList(
                _depthwise(conv, half, slice(begin, begin + hidden)) for begin in (0, hidden)
            )
        self.se: SqueezeExcite | None = None
        if isinstance(block.se, SqueezeExcite):
            both, reduced = Layout.halves(2 * hidden, half.width), Layout.plain(block.se.reduce.out_channels)
            self.se = copy.deepcopy(block.se)
            self.se.reduce = _pointwise(block.se.reduce, both, reduced)
            self.se.expand = _pointwise(block.se.expand, reduced, both)
        mixing = _conv(project.primary)
        self.project = nn.ModuleList(
            _pointwise(mixing, half, result, slice(begin, begin + hidden), bias=begin == 0)
            for begin in (0, hidden)
        )
        self.ghost = _depthwise(_conv(project.cheap), result)
        self.shortcut: nn.Module = nn.Identity()
        if isinstance(block.shortcut, nn.Sequential):
            spatial, widening = block.shortcut
            self.shortcut = nn.Sequential(
                _depthwise(_conv(spatial), inputs),
                _pointwise(_conv(widening), inputs, self.outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs.width, H, W]`` to ``[N, outputs.width, H / stride, W / stride]``."""
        first = self.primary(x)
        halves = [first, self.cheap(first)]
        if self.strided is not None:
            halves = [conv(half) for conv, half in zip(self.strided, halves, strict=True)]
        if self.se is not None:
            means = torch.cat([half.mean((2, 3), keepdim=True) for half in halves], dim=1)
            scales = self.se.scale(means).chunk(2, dim=1)
            halves = [half * scale for half, scale in zip(halves, scales, strict=True)]
        primary = self.project[0](halves[0]) + self.project[1](halves[1])
        out: Tensor = torch.cat([primary, self.ghost(primary)], dim=1) + self.shortcut(x)
        return out


def arrange(folded: nn.Module) -> nn.Module:
    """Return the arranged form of a network without batch norms; where its family has none, itself."""
    return folded.arranged() if isinstance(folded, StagedNetwork) else folded


def arrange_bottlenecks(folded: StagedNetwork) -> nn.Module:
    """Return the arranged form of a folded network of ``GhostBottleneck`` blocks with a ``tail``."""
    arranged = copy.deepcopy(folded)
    layout = Layout.plain(_conv(folded.stem).out_channels)
    for index, block in enumerate(folded.blocks):
        assert isinstance(block, GhostBottleneck)
        changed = ArrangedBottleneck(block, layout)
        arranged.blocks[index], layout = changed, changed.outputs
    tail = _conv(folded.get_submodule("tail"))
    arranged.set_submodule("tail.conv", _pointwise(tail, layout, Layout.plain(tail.out_channels)))
    return arranged.train(folded.training)


def matrices_of(arranged: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the matrices of a network, by their names, from those of its arranged form.

    Args:
        arranged: by their names there.
        model: the network, with any weights, folded or not; it is not changed.

    Raises:
        KeyError: ``arranged`` lacks one, or has it in another shape.
    """
    numbered = copy.deepcopy(model).double()
    state = {name: tensor for name, tensor in numbered.state_dict().items() if tensor.ndim > 1}
    found = {name: torch.empty(tensor.shape) for name, tensor in state.items()}
    whole = torch.empty(1 + sum(tensor.numel() for tensor in state.values()))
    begin = 1
    for tensor in state.values():
        tensor.copy_(torch.arange(begin, begin + tensor.numel()).view_as(tensor))
        begin += tensor.numel()
    # Where a number has gone, there its weight is to be found.
    for name, numbers in arrange(numbered).state_dict().items():
        if numbers.ndim > 1:
            if arranged[name].shape != numbers.shape:
                raise KeyError(name)
            whole[numbers.long()] = arranged[name].float()
    begin = 1
    for name, tensor in found.items():
        found[name] = whole[begin : begin + tensor.numel()].view_as(tensor)
        begin += tensor.numel()
    return found


def _conv(layer: nn.Module) -> nn.Conv2d:
    conv = layer.get_submodule("conv")
    assert isinstance(conv, nn.Conv2d)
    return conv


def _filled(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _pointwise(
    conv: nn.Conv2d, inputs: Layout, outputs: Layout, columns: slice = slice(None), *, bias: bool = True
) -> nn.Conv2d:
    """Return a 1x1 convolution, or its part that reads the input channels ``columns``, between layouts."""
    bias = bias and conv.bias is not None
    changed = nn.Conv2d(inputs.width, outputs.width, 1, bias=bias, dtype=conv.weight.dtype)
    with torch.no_grad():
        changed.weight.zero_()[outputs.places[:, None], inputs.places] = conv.weight[:, columns]
        if changed.bias is not None:
            assert conv.bias is not None
            changed.bias.zero_()[outputs.places] = conv.bias
    return changed


def _depthwise(conv: nn.Conv2d, layout: Layout, rows: slice = slice(None)) -> nn.Conv2d:
    """Return a depthwise convolution, or its part for the channels ``rows``, for channels laid out so."""
    changed = nn.Conv2d(
        layout.width,
        layout.width,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=layout.width,
        bias=conv.bias is not None,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        changed.weight.zero_()[layout.places] = conv.weight[rows]
        if changed.bias is not None:
            assert conv.bias is not None
            changed.bias.zero_()[layout.places] = conv.bias[rows]
    return changed
