"""The loss of the labels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ghostclas.training.losses import cross_entropy


def test_equal_shares_of_a_batch_give_the_loss_of_the_batch_blanks_included() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(8, 3, generator=draw), torch.arange(8) % 3
    weights = torch.tensor([1.0, 1, 2, 0, 1, 0, 1, 1])
    whole = cross_entropy(logits, targets, weights, smoothing=0.1)
    parts = [
        cross_entropy(logits[i : i + 4], targets[i : i + 4], weights[i : i + 4], smoothing=0.1)
        for i in (0, 4)
    ]
    torch.testing.assert_close(whole, torch.stack(parts).mean())
    each = F.cross_entropy(logits, targets, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(whole, (each * weights).sum() / 8)


def test_probabilities_of_one_class_are_that_class() -> None:
    logits, targets = (
        torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 2, 1, 1]),
    )
    ones = torch.ones(4)
    torch.testing.assert_close(
        cross_entropy(logits, targets, ones, smoothing=0),
        cross_entropy(logits, F.one_hot(targets, 3).float(), ones, smoothing=0),
    )
    assert cross_entropy(logits.bfloat16(), targets, ones, smoothing=0).dtype == torch.float32
