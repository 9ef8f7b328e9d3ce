"""Quantization-aware training: the network learns weights that keep their accuracy in int8.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018 (arXiv 1712.05877), section 3: the forward pass rounds, the backward pass ignores the rounding.
Unlike there, the ranges are those of the current batch, not running averages. So the network has no
further state, and resuming, averaging and exporting need no change.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostclas.errors import UsageError
from ghostclas.models.branches import has_branches

STEPS = 255
LARGEST = 127


class Int8Conv2d(nn.Conv2d):
    """A convolution that rounds its input and weights to 8 bits."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` as ``nn.Conv2d`` does."""
        out: Tensor = self._conv_forward(round_activations(x), round_weights(self.weight), self.bias)
        return out


class Int8Linear(nn.Linear):
    """A fully connected layer that rounds its input and weights to 8 bits."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C]`` as ``nn.Linear`` does."""
        return F.linear(round_activations(x), round_weights(self.weight), self.bias)


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Int8Conv2d, nn.Linear: Int8Linear}


def simulate_int8(model: nn.Module) -> None:
    """Make every convolution and fully connected layer of ``model`` round, in place.

    Parameters and their names stay as they are.

    Raises:
        UsageError: parts have branches, which must be merged before rounding.
    """
    if has_branches(model):
        raise UsageError(
            f"{type(model).__name__} is trained in branches that are merged before they are rounded to int8\n"
            "       leave model.int8 out, or train a network without branches, such as ghostnetv2_100"
        )
    for module in model.modules():
        module.__class__ = ROUNDED.get(type(module), type(module))


def round_activations(values: Tensor) -> Tensor:
    """Round to 256 steps, one of them zero, over the range of ``values``. Any float shape."""
    known = values.detach().float()
    low, high = known.amin().clamp(max=0), known.amax().clamp(min=0)
    scale = ((high - low) / STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    zero = torch.round(-low / scale).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, STEPS)


def round_weights(weights: Tensor) -> Tensor:
    """Round to 255 steps around zero for each output channel, the first axis.

    A later batch norm scales whole channels, so folding it changes nothing.
    """
    peaks = weights.detach().float().abs().flatten(1).amax(dim=1)
    scales = (peaks / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -LARGEST, LARGEST)
