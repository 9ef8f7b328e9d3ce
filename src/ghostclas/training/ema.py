"""The exponential moving average of weights, which is evaluated and exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class EMA:
    """A moving average of a model's parameters and buffers; its decay rises during the first steps.

    At step t the decay is ``min(decay, (1 + t) / (10 + t))``, so that the first steps soon lose their weight.
    Decay 0 keeps a plain copy.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model`` after its step number ``step``."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.state[name])
                values.append(value)
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over ``state``, for a resumed run."""
        for name, value in self.state.items():
            value.copy_(state[name])
