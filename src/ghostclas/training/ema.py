"""The exponential moving average of weights, which is evaluated and exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class EMA:
    """A moving average of a model's parameters and buffers; its decay rises during the first steps.

    At step t the decay is ``min(decay, (1 + t) / (10 + t))``, so that the first steps soon lose their weight.
    Decay 0 keeps a plain copy. Without ``warm_up`` the decay is constant, and of the weights that the model
    started with ``decay ** t`` stays in the average (averages of good weights with fine-tuned ones: M.
    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    """

    def __init__(self, model: nn.Module, decay: float, *, warm_up: bool = True) -> None:
        self.decay = decay
        self.warm_up = warm_up
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model`` after its step number ``step``."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warm_up else self.decay
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
