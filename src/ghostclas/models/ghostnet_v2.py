"""GhostNetV2: GhostNet whose bottlenecks scale their expansion by an attention along rows and columns.

Tang et al., "GhostNetV2: Enhance Cheap Operation with Long-Range Attention", NeurIPS 2022 (arXiv 2211.12905).
The widths and strides are GhostNet's.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ghostclas.models.ghostnet import GhostNet
from ghostclas.models.layers import BottleneckLayers, ConvNorm, GhostModule
from ghostclas.spec import ModelSpec

ATTENTION_KERNEL = 5
"""The length of the attention's depthwise convolutions, in pixels at half the resolution."""
FIRST_WITH_ATTENTION = 2
"""The first bottleneck with attention; feature maps before it are too large."""


class DFCAttention(nn.Module):
    """Decoupled fully connected attention: a gate in [0, 1] for each pixel and output channel.

    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, H, W]``. Section 3.2: a 1x1 convolution and
    one along each axis compute the gates at half the resolution, before they are resized.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mix = ConvNorm(in_channels, out_channels, 1, act=False)
        self.row = ConvNorm(out_channels, out_channels, (1, ATTENTION_KERNEL), groups=out_channels, act=False)
        self.column = ConvNorm(
            out_channels, out_channels, (ATTENTION_KERNEL, 1), groups=out_channels, act=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to gates ``[N, out_channels, H, W]``."""
        height, width = x.shape[2:]
        # A single row or column cannot be pooled to half.
        small = F.avg_pool2d(x, (min(2, height), min(2, width)))
        gates = self.column(self.row(self.mix(small))).sigmoid()
        return F.interpolate(gates, size=(height, width), mode="nearest")


class AttentionGhostModule(GhostModule):
    """A ghost module with an output scaled by the attention to its input. Section 3.3."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        act: bool = True,
        conv: Callable[..., nn.Module] = ConvNorm,
    ) -> None:
        super().__init__(in_channels, out_channels, act=act, conv=conv)
        self.attention = DFCAttention(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``."""
        gated: Tensor = super().forward(x) * self.attention(x)
        return gated


class GhostNetV2(GhostNet):
    """GhostNetV2 of any width and any number of classes; input and output are GhostNet's."""

    def layers(self, index: int) -> BottleneckLayers:
        """Return the constructors of the layers in bottleneck ``index``."""
        return BottleneckLayers(expand=AttentionGhostModule if index >= FIRST_WITH_ATTENTION else GhostModule)

    def arranged(self) -> nn.Module:
        """Return itself: networks with attention have no other graph."""
        return self


def build(spec: ModelSpec) -> GhostNetV2:
    """Return a newly initialised GhostNetV2 for ``spec``."""
    return GhostNetV2(spec)
