"""GhostNet arranged for CPUs: the same function in the graph that a bundle's ONNX file holds.

Every ghost module ends with a concatenation of two halves, which the next convolution reads once. Runtimes
copy slowly, and those that store channels in blocks of a vector's width leave these blocks to concatenate.
Two changes avoid most of that. They change numbers only by the order of sums:

- Between the two ghost modules of a bottleneck the halves stay separate. Operations on single channels apply
  to both, and each half has its own columns of the 1x1 convolution: ``W [a; b] = W_a a + W_b b``.
- Zeros pad every half to a multiple of ``LANES`` channels, so that halves are concatenated at the border
  between two blocks of channels.

``benchmarks/arrangement.py`` measures the gain.
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
"""The name of this arrangement; a change of it needs another name."""


@dataclass(frozen=True)
class Layout:
    """The positions of channels: channel ``i`` is at ``places[i]`` of ``width``; the others are zeros."""

    places: Tensor
    width: int

    @classmethod
    def plain(cls, channels: int, width: int | None = None) -> Layout:
        """Return the layout with the channels first, then zeros."""
        return cls(torch.arange(channels), width or channels)

    @classmethod
    def halves(cls, channels: int, width: int) -> Layout:
        """Return the layout of two halves of ``width`` each, each with half of the channels."""
        places = torch.arange(channels // 2)
        return cls(torch.cat([places, width + places]), 2 * width)


class ArrangedBottleneck(nn.Module):
    """A folded ``GhostBottleneck`` with the layout ``inputs`` of its input and ``outputs`` of its output.

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
        self.inputs, self.hidden, self.result = inputs, half, result

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

    def plain_matrices(self, arranged: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the matrices of the original block, by their names there.

        Args:
            arranged: the matrices of this block, by their names here.
        """
        inputs, half, result = self.inputs.places, self.hidden.places, self.result.places
        both = torch.cat([half, self.hidden.width + half])
        matrices = {
            "expand.primary.conv": arranged["primary.0.weight"][half[:, None], inputs],
            "expand.cheap.conv": arranged["cheap.0.weight"][half],
            "project.primary.conv": torch.cat(
                [arranged[f"project.{part}.weight"][result[:, None], half] for part in (0, 1)], dim=1
            ),
            "project.cheap.conv": arranged["ghost.weight"][result],
        }
        if self.strided is not None:
            parts = [arranged[f"strided.{part}.weight"][half] for part in (0, 1)]
            matrices["depthwise.conv"] = torch.cat(parts)
        if self.se is not None:
            matrices["se.reduce"] = arranged["se.reduce.weight"][:, both]
            matrices["se.expand"] = arranged["se.expand.weight"][both]
        if not isinstance(self.shortcut, nn.Identity):
            matrices["shortcut.0.conv"] = arranged["shortcut.0.weight"][inputs]
            matrices["shortcut.1.conv"] = arranged["shortcut.1.weight"][self.outputs.places[:, None], inputs]
        return {f"{name}.weight": matrix for name, matrix in matrices.items()}

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
    """Return the arranged form of a network without batch norms, or the network if its family has none."""
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
    """Return the matrices of a network, by its names, from those of its arranged form.

    Args:
        arranged: the matrices by their names in the arranged form.
        model: the network, with any weights, folded or not; it is not changed.

    Raises:
        KeyError: ``arranged`` lacks a matrix, or has it in another shape.
    """
    form = arrange(model)
    for name, wanted in form.state_dict().items():
        if wanted.ndim > 1 and arranged[name].shape != wanted.shape:
            raise KeyError(name)
    found = {name: arranged[name] for name, tensor in model.state_dict().items() if name in arranged}
    assert isinstance(form, StagedNetwork)
    layout = None
    for index, block in enumerate(form.blocks):
        assert isinstance(block, ArrangedBottleneck)
        prefix = f"blocks.{index}."
        own = {
            name.removeprefix(prefix): value for name, value in arranged.items() if name.startswith(prefix)
        }
        found |= {f"{prefix}{name}": matrix for name, matrix in block.plain_matrices(own).items()}
        layout = block.outputs
    assert layout is not None
    found["tail.conv.weight"] = arranged["tail.conv.weight"][:, layout.places]
    return {
        name: found[name].float().contiguous()
        for name, tensor in model.state_dict().items()
        if tensor.ndim > 1
    }


def _conv(layer: nn.Module) -> nn.Conv2d:
    conv = layer.get_submodule("conv")
    assert isinstance(conv, nn.Conv2d)
    return conv


def _filled(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _pointwise(
    conv: nn.Conv2d, inputs: Layout, outputs: Layout, columns: slice = slice(None), *, bias: bool = True
) -> nn.Conv2d:
    """Return a 1x1 convolution between layouts, or its part for the input channels ``columns``."""
    bias = bias and conv.bias is not None
    changed = nn.Conv2d(inputs.width, outputs.width, 1, bias=bias, dtype=conv.weight.dtype)
    with torch.no_grad():
        changed.weight.zero_()[outputs.places[:, None], inputs.places] = conv.weight[:, columns]
        if changed.bias is not None:
            assert conv.bias is not None
            changed.bias.zero_()[outputs.places] = conv.bias
    return changed


def _depthwise(conv: nn.Conv2d, layout: Layout, rows: slice = slice(None)) -> nn.Conv2d:
    """Return a depthwise convolution in a layout, or the part of it for the channels ``rows``."""
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
