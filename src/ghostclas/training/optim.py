"""Parameter groups, optimizers and the learning rate of every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from ghostclas.exporting.network import classifier_of
from ghostclas.training.config import OptimizerConfig, ScheduleConfig

HEADS = ("classifier.",)
"""Name prefixes of the parameters that start at random; an objective that wraps the network has its own."""


def heads_of(model: nn.Module) -> tuple[str, ...]:
    """Return the name prefixes of a network's last layer: timm's networks give it other names than ours."""
    last = classifier_of(model)
    return tuple(f"{name}." for name, module in model.named_modules() if module is last) or HEADS


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, *, batch_size: int, heads: tuple[str, ...] = HEADS
) -> torch.optim.Optimizer:
    """Return the optimizer with its groups, each carrying its peak rate as ``peak_lr``.

    ``heads`` are the name prefixes of the parameters that start at random. The rate scales linearly with
    ``batch_size`` (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
    """
    lr = config.lr * (batch_size / config.lr_batch if config.lr_batch else 1.0)
    norms = {
        f"{name}.{leaf}"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for leaf, _ in module.named_parameters(recurse=False)
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        kind = "norm" if name in norms else "bias" if name.endswith(".bias") else "weight"
        key = (name.startswith(heads), kind not in config.no_decay)
        groups.setdefault(key, []).append(parameter)
    parameters = [
        {
            "params": members,
            "weight_decay": config.weight_decay if decays else 0.0,
            "peak_lr": lr if is_head else lr * config.body_lr,
            "head": is_head,
        }
        for (is_head, decays), members in groups.items()
    ]
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr)
    return torch.optim.SGD(
        parameters, lr=lr, momentum=config.momentum, nesterov=config.nesterov and config.momentum > 0
    )


def rate_at(config: ScheduleConfig, progress: float) -> float:
    """Return the multiple of the peak rate when the fraction ``progress`` of the run is over."""
    warmup = min(config.warmup_epochs / config.epochs, 1.0)
    if progress < warmup:
        return progress / warmup
    position = (progress - warmup) / max(1.0 - warmup, 1e-9)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(position, 1.0)))


def set_rates(optimizer: torch.optim.Optimizer, config: ScheduleConfig, progress: float) -> float:
    """Give every group its rate at ``progress`` and return the head's.

    While only the head is trained, the body has rate 0.
    """
    factor = rate_at(config, progress)
    frozen = progress * config.epochs < config.head_epochs
    highest = 0.0
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if frozen and not group["head"] else group["peak_lr"] * factor
        highest = max(highest, group["lr"])
    return highest
