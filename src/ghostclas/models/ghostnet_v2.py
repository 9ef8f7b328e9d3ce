"""GhostNetV2: the bottlenecks of GhostNet widen under an attention that reaches along rows and columns.

Tang et al., "GhostNetV2: Enhance Cheap Operation with Long-Range Attention", NeurIPS 2022 (arXiv 2211.12905).
The table of widths and strides is GhostNet's.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ghostclas.models.ghostnet import GhostNet
from ghostclas.models.layers import BottleneckLayers, ConvNorm, GhostModule
from ghostclas.spec import ModelSpec

REACH = 5
"""The length of the attention's depthwise convolutions, in pixels of half the size."""
FIRST_ATTENTIVE = 2
"""The bottlenecks before this one, whose maps are large, have no attention."""


class DFCAttention(nn.Module):
    """Decoupled fully connected attention: a gate in [0, 1] for each pixel and output channel.

    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, H, W]``. Section 3.2: the gates are computed
    at half the size, by a 1x1 convolution and one along each axis, and then enlarged.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mix = ConvNorm(in_channels, out_channels, 1, act=False)
        self.row = ConvNorm(out_channels, out_channels, (1, REACH), groups=out_channels, act=False)
        self.column = ConvNorm(out_channels, out_channels, (REACH, 1), groups=out_channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to gates ``[N, out_channels, H, W]``."""
        height, width = x.shape[2:]
        # A single row or column cannot be halved.
        small = F.avg_pool2d(x, (min(2, height), min(2, width)))
        gates = self.column(self.row(self.mix(small))).sigmoid()
        return F.interpolate(gates, size=(height, width), mode="nearest")


class AttentiveGhostModule(GhostModule):
    """A ghost module whose output the attention to its input scales. Section 3.3."""

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
        """Return what makes the layers of the bottleneck at ``index``."""
        return BottleneckLayers(expand=AttentiveGhostModule if index >= FIRST_ATTENTIVE else GhostModule)

    def arranged(self) -> nn.Module:
        """Return itself: there is no other graph of a network with attention."""
        return self


def build(spec: ModelSpec) -> GhostNetV2:
    """Return a freshly initialised GhostNetV2 for ``spec``."""
    return GhostNetV2(spec)
