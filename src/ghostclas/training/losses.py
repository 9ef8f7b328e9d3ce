"""The loss of the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, *, smoothing: float) -> Tensor:
    """Return the weighted cross-entropy, summed over the images and divided by their number.

    ``targets`` are class indices ``[N]`` or probabilities ``[N, C]``. N includes blanks, so the mean over
    equal shares of a batch equals the loss of the batch. Gradients therefore do not depend on the number of
    processes or micro-batches.
    """
    losses = F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
    return (losses * weights).sum() / len(weights)
