"""GhostNet, in its two published flavours.

Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020 (arXiv 1911.11907), table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from ghostclas.models.arranged import arrange_bottlenecks
from ghostclas.models.layers import (
    BottleneckLayers,
    ConvNorm,
    Gate,
    GhostBottleneck,
    SqueezeExcite,
    round_channels,
)
from ghostclas.models.staged import StagedNetwork
from ghostclas.spec import FlavourName, ModelSpec

HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class Stage:
    """One bottleneck of the table, at width 1."""

    kernel: int
    hidden: int
    out: int
    se: bool
    stride: int


STAGES: Sequence[Stage] = (
    Stage(3, 16, 16, se=False, stride=1),
    Stage(3, 48, 24, se=False, stride=2),
    Stage(3, 72, 24, se=False, stride=1),
    Stage(5, 72, 40, se=True, stride=2),
    Stage(5, 120, 40, se=True, stride=1),
    Stage(3, 240, 80, se=False, stride=2),
    Stage(3, 200, 80, se=False, stride=1),
    Stage(3, 184, 80, se=False, stride=1),
    Stage(3, 184, 80, se=False, stride=1),
    Stage(3, 480, 112, se=True, stride=1),
    Stage(3, 672, 112, se=True, stride=1),
    Stage(5, 672, 160, se=True, stride=2),
    Stage(5, 960, 160, se=False, stride=1),
    Stage(5, 960, 160, se=True, stride=1),
    Stage(5, 960, 160, se=False, stride=1),
    Stage(5, 960, 160, se=True, stride=1),
)


@dataclass(frozen=True)
class Flavour:
    """The three differences between the published networks."""

    gate: Gate
    se_channels: Callable[[int], int]
    head_norm: bool


FLAVOURS: Mapping[FlavourName, Flavour] = {
    "paddleclas": Flavour(gate="clip", se_channels=lambda channels: channels // 4, head_norm=True),
    "original": Flavour(
        gate="hard_sigmoid", se_channels=lambda channels: round_channels(channels / 4), head_norm=False
    ),
}


class GhostNet(StagedNetwork):
    """GhostNet of any width and any number of classes.

    Input ``[N, 3, H, W]``, normalised float, H and W multiples of 32; output ``[N, num_classes]`` logits.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, flavour = spec.width, spec.flavour
        published = FLAVOURS[flavour]
        channels = round_channels(16 * width)
        self.stem = ConvNorm(3, channels, 3, stride=2)
        blocks: list[nn.Module] = []
        for index, stage in enumerate(STAGES):
            hidden, out = round_channels(stage.hidden * width), round_channels(stage.out * width)
            blocks.append(
                GhostBottleneck(
                    channels,
                    hidden,
                    out,
                    kernel=stage.kernel,
                    stride=stage.stride,
                    se_channels=published.se_channels(hidden) if stage.se else 0,
                    gate=published.gate,
                    layers=self.layers(index),
                )
            )
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.tail = ConvNorm(channels, round_channels(STAGES[-1].hidden * width), 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential()
        self.head.conv = nn.Conv2d(
            self.tail.conv.out_channels, HEAD_CHANNELS, 1, bias=not published.head_norm
        )
        if published.head_norm:
            self.head.norm = nn.BatchNorm2d(HEAD_CHANNELS)
        self.head.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(HEAD_CHANNELS, spec.num_classes)
        self._initialise()

    def layers(self, index: int) -> BottleneckLayers:
        """Return the constructors of the layers in bottleneck ``index``; later generations override it."""
        return BottleneckLayers()

    def arranged(self) -> nn.Module:
        """Return the same function, already folded, in the graph that CPUs run fastest."""
        return arrange_bottlenecks(self)

    def forward_head(self, last: Tensor) -> Tensor:
        """Map the output of the last block to logits ``[N, num_classes]``."""
        vector = self.head(self.pool(self.tail(last))).flatten(1)
        logits: Tensor = self.classifier(self.dropout(vector))
        return logits

    def _initialise(self) -> None:
        """Initialise what PyTorch's defaults do not suit: the gates and the classifier.

        Gates start at one half in both flavours, where their gradient is not zero.
        """
        for module in self.modules():
            if isinstance(module, SqueezeExcite):
                nn.init.normal_(module.expand.weight, std=0.01)
                nn.init.constant_(cast(Tensor, module.expand.bias), 0.5 if module.gate == "clip" else 0.0)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)


def build(spec: ModelSpec) -> GhostNet:
    """Return a newly initialised GhostNet for ``spec``."""
    return GhostNet(spec)
