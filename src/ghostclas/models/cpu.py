"""The same layers in forms that a CPU trains faster.

A network is changed in place, as by ``int8.simulate_int8``: parameters, buffers, their names and evaluation
mode stay the same. ``benchmarks/training_throughput.py`` measures the gain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ghostclas.models.layers import SameConv

_SMALL_KERNEL = 3
# Inductor adds up to so many numbers in registers, and more of them in memory.
_LONGEST_SUM = 4096


class Float32Conv2d(nn.Conv2d):
    """A convolution that autocast leaves in float32."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = super()._conv_forward(x.to(weight.dtype), weight, bias)
        return out


class Float32SameConv(Float32Conv2d, SameConv):
    """The same for a convolution with TensorFlow's padding."""

    forward = SameConv.forward


class TwoSumBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that computes batch statistics from a sum and a sum of squares, in one pass.

    ``nn.BatchNorm2d`` compiles to Welford's algorithm, with a division for every pixel. The sums are about
    the running mean, which avoids cancellation when the mean is large beside the deviation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to the same shape and dtype."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        values: Tensor
        values, mean, variance = _Normalise.apply(
            x, self.weight, self.bias, self.running_mean.clone(), self.eps
        )
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return values


class _Normalise(torch.autograd.Function):
    """``weight * (x - mean) / sqrt(variance + eps) + bias``, with its mean and biased variance ``[C]``.

    The gradient is from Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, about: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = x.numel() // x.shape[1]
        values = _at_least_float32(x)
        centred = values - _broadcast(about)
        offset = _channel_sum(centred) / count
        variance = (_channel_sum(centred * centred) / count - offset * offset).clamp(min=0)
        mean = about + offset
        inverse = (variance + eps).rsqrt()
        scale = weight * inverse
        out = values * _broadcast(scale) + _broadcast(bias - mean * scale)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return out.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, inverse = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        above, centred = _at_least_float32(gradients[0]), _at_least_float32(x) - _broadcast(mean)
        of_bias = _channel_sum(above)
        of_weight = _channel_sum(above * centred) * inverse
        scale = weight * inverse
        slope = scale * inverse * of_weight / count
        below = above * _broadcast(scale) - centred * _broadcast(slope) - _broadcast(scale * of_bias / count)
        return below.to(x.dtype), of_weight, of_bias, None, None


_FLOAT32: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Float32Conv2d, SameConv: Float32SameConv}


def speed_up(model: nn.Module, *, compiled: bool) -> None:
    """Replace layers that a CPU trains slowly, in place.

    Under autocast, depthwise convolutions with a stride or a kernel above 3 stay in float32: oneDNN has no
    fast kernel for their gradients in bfloat16. Batch norms become ``TwoSumBatchNorm2d`` if the network will
    be compiled; without compilation each of its steps would be a separate pass over memory.
    """
    for module in model.modules():
        if compiled and type(module) is nn.BatchNorm2d and module.affine and module.momentum is not None:
            module.__class__ = TwoSumBatchNorm2d
        elif isinstance(module, nn.Conv2d) and _is_slow_in_bfloat16(module):
            swapped: nn.Module = module
            swapped.__class__ = _FLOAT32.get(type(module), type(module))


def compile_training(network: nn.Module) -> Callable[..., Any]:
    """Return ``network`` compiled for batches in channels_last on a CPU.

    Inductor keeps that layout if it finds convolutions. A graph of gradients has only their gradients, so
    Inductor would change the layout of every depthwise convolution's input, and oneDNN would change it back.
    The option tells it to keep the layout.
    """
    compiled: Callable[..., Any] = torch.compile(
        network, dynamic=False, options={"force_layout_optimization": True}
    )
    return compiled


def _is_slow_in_bfloat16(conv: nn.Conv2d) -> bool:
    depthwise = conv.groups == conv.in_channels > 1
    return depthwise and (conv.stride[0] > 1 or max(conv.kernel_size) > _SMALL_KERNEL)


def _channel_sum(values: Tensor) -> Tensor:
    """Sum ``[N, C, H, W]`` over all dimensions but the channels, in several short steps.

    The channels stay last, contiguous in memory, in every intermediate sum.
    """
    number, _, height, width = values.shape
    last = values.permute(0, 2, 3, 1)
    if height * width <= _LONGEST_SUM:
        return last.sum((1, 2)).sum(0)
    rows = last.sum(2)
    return rows.sum((0, 1)) if number * height <= _LONGEST_SUM else rows.sum(1).sum(0)


def _at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32 or wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _broadcast(channels: Tensor) -> Tensor:
    return channels.view(1, -1, 1, 1)
