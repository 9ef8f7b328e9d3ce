"""What a step of training minimises: the labels' cross-entropy, or anything else of this form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ghostclas.training.losses import cross_entropy


class Views(NamedTuple):
    """A micro-batch on its device, as the network sees it.

    ``images`` float ``[N, 3, H, W]``, normalised and mixed; ``targets`` class indices ``[N]`` or, where
    mixed, probabilities ``[N, C]``; ``weights`` float ``[N]``, 0 for a blank; ``tickets`` int64 ``[N, 2]``:
    which image of the training source and the seed of its view (see ``data.loader.Ticket``).
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    tickets: Tensor


class Objective(Protocol):
    """A loss, and the views that it needs. ``data.loader`` and ``training.loop`` know nothing else of it."""

    def seeds(self, images: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.int64] | None:
        """Return the seed of each image's view in this epoch, int64 ``[N]``, or ``None`` for any."""

    def __call__(self, logits: Tensor, views: Views) -> Tensor:
        """Return the loss of logits ``[N, C]``, summed over the images and divided by N, blanks included."""


@dataclass(frozen=True)
class CrossEntropy:
    """The labels, smoothed."""

    smoothing: float

    def seeds(self, images: npt.NDArray[np.int64], epoch: int) -> None:
        """Any view will do."""

    def __call__(self, logits: Tensor, views: Views) -> Tensor:
        """Return the weighted cross-entropy; see ``losses.cross_entropy``."""
        return cross_entropy(logits, views.targets, views.weights, smoothing=self.smoothing)
