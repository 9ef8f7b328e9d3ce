"""GhostNetV3: GhostNetV2 with branches in training, each group of which merges into one convolution.

Liu et al., "GhostNetV3: Exploring the Training Strategies for Compact Models", 2024 (arXiv 2404.11202),
section 4.1. The merged network is a GhostNetV2.
"""

from __future__ import annotations

from functools import partial

from ghostclas.models.branches import BranchedConv
from ghostclas.models.ghostnet_v2 import FIRST_WITH_ATTENTION, AttentionGhostModule, GhostNetV2
from ghostclas.models.layers import BottleneckLayers, GhostModule
from ghostclas.spec import ModelSpec


class GhostNetV3(GhostNetV2):
    """GhostNetV3 of any width and any number of classes; input and output are GhostNet's.

    Every export merges the branches; ``branches.merge_branches`` does it alone.
    """

    def layers(self, index: int) -> BottleneckLayers:
        """Return the constructors of the layers in bottleneck ``index``."""
        return BottleneckLayers(
            expand=partial(
                AttentionGhostModule if index >= FIRST_WITH_ATTENTION else GhostModule, conv=BranchedConv
            ),
            strided=BranchedConv,
            project=partial(GhostModule, conv=BranchedConv),
        )


def build(spec: ModelSpec) -> GhostNetV3:
    """Return a newly initialised GhostNetV3 for ``spec``."""
    return GhostNetV3(spec)
