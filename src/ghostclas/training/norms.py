"""Batch norms that keep the statistics of the weights, instead of those of each batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

FrozenNorms = Literal["none", "pooled", "all"]
"""Which: none; those behind the global pooling, with one value of each image and channel; all."""

_LEAST_SIDE = 128
"""At this side of an image the last maps of a network have more than one place."""


def frozen_norms(network: nn.Module, which: FrozenNorms, *, side: int) -> list[nn.Module]:
    """Return the batch norms that keep their statistics.

    A norm behind the global pooling estimates the mean and variance of a channel from as many values as the
    batch has images; others from that many times the places of a map (S. Ioffe, "Batch Renormalization",
    NeurIPS 2017, on the error with small batches).

    Args:
        network: with an input ``[N, 3, H, W]``, on the CPU.
        which: as in the configuration.
        side: of the images in training, in pixels.
    """
    norms: list[nn.Module] = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if which != "pooled":
        return norms if which == "all" else []
    pooled: list[nn.Module] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[2:].numel() == 1:
            pooled.append(module)

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    trains = network.training
    side = max(side, _LEAST_SIDE)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, side, side))
    network.train(trains)
    for hook in hooks:
        hook.remove()
    return pooled
