"""The objective of a run that learns from labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ghostclas.training.losses import cross_entropy
from ghostclas.training.objective import CrossEntropy, Views
from ghostclas.training.optim import HEADS


def test_labels_ask_for_the_logits_of_any_views_of_the_plain_network() -> None:
    objective = CrossEntropy(smoothing=0.1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    assert objective.wrap(network) is network
    assert objective.seeds(np.arange(3), epoch=0) is None
    assert objective.heads() == HEADS
    images, targets, weights = torch.randn(2, 3, 2, 2), torch.tensor([0, 2]), torch.tensor([1.0, 0.0])
    loss = objective(network, Views(images, targets, weights, torch.zeros(2, 2).long(), 0.0))
    torch.testing.assert_close(loss, cross_entropy(network(images), targets, weights, smoothing=0.1))
