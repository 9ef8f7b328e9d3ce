"""Distillation losses. Each takes weights of the images ``[N]``, among others, and returns a scalar."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes student logits and teacher logits, both ``[N, C]``, and weights ``[N]``."""


def symmetric_kl(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Return half of KL(teacher, student) + KL(student, teacher): the sum over classes, the batch's mean.

    The loss of PaddleClas' SSLD (``DMLLoss``), which its authors call JS divergence.
    """
    log_p, log_q = teacher.float().log_softmax(1), student.float().log_softmax(1)
    losses = 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)
    return (losses * weights).sum() / len(weights)


def soft_kl(student: Tensor, teacher: Tensor, weights: Tensor, *, temperature: float) -> Tensor:
    """Return ``T**2`` times KL(teacher, student), both softened by the temperature T.

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    log_p = (teacher.float() / temperature).log_softmax(1)
    log_q = (student.float() / temperature).log_softmax(1)
    losses = temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1)
    return (losses * weights).sum() / len(weights)


def decoupled_kl(
    student: Tensor, teacher: Tensor, weights: Tensor, *, temperature: float, alpha: float, beta: float
) -> Tensor:
    """Return ``alpha`` times the KL of the target class plus ``beta`` times that of the other classes.

    Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, equation 7. The paper's target class is the
    label. Here images have no labels, and the target class is the teacher's most probable one.
    """
    p, q = teacher.float() / temperature, student.float() / temperature
    target = F.one_hot(p.argmax(1), p.shape[1]).bool()
    log_p, log_q = p.log_softmax(1), q.log_softmax(1)
    # First the target against all other classes together, then the other classes among themselves.
    pair_p, pair_q = (_pair(log, target) for log in (log_p, log_q))
    rest_p, rest_q = (logits.masked_fill(target, -1e9).log_softmax(1) for logits in (p, q))
    between = (pair_p.exp() * (pair_p - pair_q)).sum(1)
    among = (rest_p.exp() * (rest_p - rest_q)).masked_fill(target, 0.0).sum(1)
    losses = temperature**2 * (alpha * between + beta * among)
    return (losses * weights).sum() / len(weights)


def feature_map_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Return the normalised squared difference between the student's and the teacher's feature maps.

    0 means equal maps; a student that outputs each channel's mean gets 1. The squared difference of maps
    ``[N, C, H, W]`` is divided by the teacher's variance of each channel over the batch, then averaged. The
    value therefore depends on the batch.
    """
    ours, theirs = student.float(), teacher.float()
    variances = theirs.var((0, 2, 3), unbiased=False, keepdim=True)
    # A nearly constant channel carries no information, and dividing by its variance would amplify noise.
    floor = 1e-3 * variances.mean() + 1e-12
    differences = (ours - theirs) ** 2 / torch.maximum(variances, floor)
    return (differences.mean((1, 2, 3)) * weights).sum() / len(weights)


def _pair(log_probabilities: Tensor, target: Tensor) -> Tensor:
    chosen = log_probabilities[target]
    others = log_probabilities.masked_fill(target, float("-inf")).logsumexp(1)
    return torch.stack([chosen, others], dim=1)
