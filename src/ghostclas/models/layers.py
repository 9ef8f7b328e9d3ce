"""Layers that the families share, most of them GhostNet's.

Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020 (arXiv 1911.11907), section 3.
Shapes are ``[N, C, H, W]``, float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Gate = Literal["clip", "hard_sigmoid"]


def round_channels(channels: float, divisor: int = 4) -> int:
    """Return the multiple of ``divisor`` nearest to ``channels``, at most 10 % below it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm and, unless ``act`` is false, ReLU. Keeps H and W at stride 1.

    ``kernel`` is odd: its side, or its height and width.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (height, width),
            stride,
            padding=(height // 2, width // 2),
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        if act:
            self.act = nn.ReLU(inplace=True)


class SameConv(nn.Conv2d):
    """A convolution without bias whose output is ``ceil(H / stride)`` high and ``ceil(W / stride)`` wide.

    It pads as TensorFlow's ``SAME``: an odd sum puts one more at the right and the bottom.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, ceil(H / stride), ceil(W / stride)]``."""
        height, width = (self._missing(size) for size in x.shape[2:])
        if height or width:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)

    def _missing(self, size: int) -> int:
        stride, kernel = self.stride[0], self.kernel_size[0]
        return max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)


class GhostModule(nn.Module):
    """Half of the output is a 1x1 convolution, half a cheap 3x3 depthwise convolution of that.

    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, H, W]``. Section 3.1, with ratio s = 2.
    ``conv`` constructs both convolutions and takes the parameters of ``ConvNorm``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        act: bool = True,
        conv: Callable[..., nn.Module] = ConvNorm,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        half = math.ceil(out_channels / 2)
        self.primary = conv(in_channels, half, 1, act=act)
        self.cheap = conv(half, half, 3, groups=half, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``."""
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.out_channels]


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate in [0, 1] computed from all channel means.

    Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018. The gate is ``clip(x, 0, 1)`` or
    ``clip(x / 6 + 1 / 2, 0, 1)``.
    """

    def __init__(self, channels: int, reduced: int, *, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, channels, H, W]`` to the same shape."""
        return x * self.scale(x.mean((2, 3), keepdim=True))

    def scale(self, means: Tensor) -> Tensor:
        """Return the gates of channels with these means; both are ``[N, channels, 1, 1]``."""
        gates = self.expand(F.relu(self.reduce(means)))
        return gates.clamp(0, 1) if self.gate == "clip" else F.hardsigmoid(gates)


@dataclass(frozen=True)
class BottleneckLayers:
    """The constructors of the layers in which the generations of GhostNet differ.

    ``expand`` and ``project`` take the parameters of ``GhostModule``, ``strided`` those of ``ConvNorm``.
    """

    expand: Callable[..., nn.Module] = GhostModule
    strided: Callable[..., nn.Module] = ConvNorm
    project: Callable[..., nn.Module] = GhostModule


class GhostBottleneck(nn.Module):
    """Two ghost modules with a strided depthwise convolution and a gate between them, and a shortcut.

    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, H / stride, W / stride]``. Section 3.2.
    ``se_channels`` 0 leaves the gate out.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        se_channels: int,
        gate: Gate,
        layers: BottleneckLayers,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.expand = layers.expand(in_channels, hidden_channels)
        self.depthwise = (
            layers.strided(
                hidden_channels, hidden_channels, kernel, stride=stride, groups=hidden_channels, act=False
            )
            if stride > 1
            else nn.Identity()
        )
        self.se = SqueezeExcite(hidden_channels, se_channels, gate=gate) if se_channels else nn.Identity()
        self.project = layers.project(hidden_channels, out_channels, act=False)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                ConvNorm(in_channels, in_channels, kernel, stride=stride, groups=in_channels, act=False),
                ConvNorm(in_channels, out_channels, 1, act=False),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, H / stride, W / stride]``."""
        out: Tensor = self.project(self.se(self.depthwise(self.expand(x)))) + self.shortcut(x)
        return out
