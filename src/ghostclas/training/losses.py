"""The loss of the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, *, smoothing: float) -> Tensor:
    """Return the weighted cross-entropy, summed over the images and divided by their number.

    ``targets`` are class indices ``[N]`` or probabilities ``[N, C]``. Dividing by N, blanks included, makes
    the mean over equal shares of a batch equal to the batch's own: gradients do not depend on how many
    processes or micro-batches it was split into.
    """
    losses = F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
    return (losses * weights).sum() / len(weights)
