"""Grad-CAM as it is usually written: a hook in PyTorch that keeps the last feature map and its gradient."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ghostclas.exporting.network import Normalised
from ghostclas.spec import PreprocessSpec


def hooked_heat(network: nn.Module, pixels: np.ndarray, spec: PreprocessSpec, index: int) -> np.ndarray:
    """Return the heat of class ``index`` in uint8 ``[H, W, 3]``."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    hook = cast(nn.Module, network.tail).register_forward_hook(keep)
    try:
        logits = Normalised(network, spec).eval()(torch.from_numpy(pixels[None]))
        logits[0, index].backward()
    finally:
        hook.remove()
    maps, gradient = kept[0][0].detach(), kept[0].grad
    assert gradient is not None
    weights = gradient[0].mean((1, 2))
    heat: np.ndarray = torch.relu((weights[:, None, None] * maps).sum(0)).numpy()
    return heat
