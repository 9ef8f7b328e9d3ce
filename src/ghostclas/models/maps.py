"""A network's feature maps: the last one of each size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeGuard

import torch
from torch import Tensor, nn

from ghostclas.models.staged import StagedNetwork

MappedNetwork: TypeAlias = StagedNetwork
"""Networks whose maps are known."""

_SIDE = 64


class LogitsAndMaps(NamedTuple):
    """Logits ``[N, num_classes]`` and maps ``[N, C, H, W]``, the largest first."""

    logits: Tensor
    maps: list[Tensor]


def has_maps(network: nn.Module) -> TypeGuard[MappedNetwork]:
    """Whether ``run_with_maps`` takes the network."""
    return isinstance(network, StagedNetwork)


def run_with_maps(network: MappedNetwork, images: Tensor, given: Sequence[Tensor] = ()) -> LogitsAndMaps:
    """Return what the network answers and, of each size, the map that its last block of that size gives.

    Every family gives five, a half to a 32nd as wide as the images, which are normalised float
    ``[N, 3, H, W]``. Blocks of the next size take the ``given`` maps, where there are any, in place of the
    network's own.
    """
    maps: list[Tensor] = []
    x: Tensor = network.stem(images)
    for block in network.blocks:
        if block.stride != 1:
            maps.append(x)
            x = given[len(maps) - 1] if given else x
        x = block(x)
    return LogitsAndMaps(network.answer(x), [*maps, x])


def map_channels(network: MappedNetwork) -> list[int]:
    """Return how many channels each of the maps has."""
    device = next(network.parameters()).device
    # Parts of a teacher may be in another mode than the whole.
    modes = {module: module.training for module in network.modules()}
    with torch.no_grad():
        maps = run_with_maps(network.eval(), torch.zeros(1, 3, _SIDE, _SIDE, device=device)).maps
    for module, training in modes.items():
        module.training = training
    return [each.shape[1] for each in maps]
