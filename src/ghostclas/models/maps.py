"""Feature maps of a network: the last one of each resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeGuard

import torch
from torch import Tensor, nn

from ghostclas.models.staged import StagedNetwork

MappedNetwork: TypeAlias = StagedNetwork
"""Networks with feature maps."""

_SIDE = 64


class LogitsAndMaps(NamedTuple):
    """Logits ``[N, num_classes]`` and feature maps ``[N, C, H, W]``, the largest first."""

    logits: Tensor
    maps: list[Tensor]


def has_maps(network: nn.Module) -> TypeGuard[MappedNetwork]:
    """Whether ``run_with_maps`` supports the network."""
    return isinstance(network, StagedNetwork)


def run_with_maps(network: MappedNetwork, images: Tensor, given: Sequence[Tensor] = ()) -> LogitsAndMaps:
    """Return the logits and, for each resolution, the output of the last block at that resolution.

    Every family has five, from a half to a 32nd of the images' side. Images are normalised float
    ``[N, 3, H, W]``. With ``given`` maps, the blocks of the next resolution take those instead of the
    network's own.
    """
    maps: list[Tensor] = []
    x: Tensor = network.stem(images)
    for block in network.blocks:
        if block.stride != 1:
            maps.append(x)
            x = given[len(maps) - 1] if given else x
        x = block(x)
    return LogitsAndMaps(network.forward_head(x), [*maps, x])


def map_channels(network: MappedNetwork) -> list[int]:
    """Return the number of channels of each feature map."""
    device = next(network.parameters()).device
    # A teacher's parts may be in different modes, so each mode is restored.
    modes = {module: module.training for module in network.modules()}
    with torch.no_grad():
        maps = run_with_maps(network.eval(), torch.zeros(1, 3, _SIDE, _SIDE, device=device)).maps
    for module, training in modes.items():
        module.training = training
    return [each.shape[1] for each in maps]
