"""What a step of training minimises: the labels' cross-entropy, or anything else of this form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from torch import Tensor, nn

from ghostclas.training.losses import cross_entropy
from ghostclas.training.optim import HEADS


class Views(NamedTuple):
    """A micro-batch on its device, as the network sees it.

    ``images`` float ``[N, 3, H, W]``, normalised and mixed; ``targets`` class indices ``[N]`` or, where
    mixed, probabilities ``[N, C]``; ``weights`` float ``[N]``, 0 for a blank; ``indices`` int64 ``[N, 2]``: a
    ``training.input.sampling.SeededIndex`` each. ``epoch``: how many epochs of the schedule are over.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    indices: Tensor
    epoch: float


class Objective(Protocol):
    """A loss, the views that it needs, and what it needs the network to say of them.

    ``data.loader`` and ``training.loop`` know nothing else of it. Unless an objective says otherwise, any
    views and their logits will do.
    """

    def wrap(self, student: nn.Module) -> nn.Module:
        """Return what is trained: the network, or one around it that says more of images than its logits."""
        return student

    def seeds(self, images: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.int64] | None:
        """Return the seed of each image's view in this epoch, int64 ``[N]``, or ``None`` for any."""
        return None

    def heads(self) -> tuple[str, ...]:
        """Return how the names of the wrapped network's parameters start that begin anew."""
        return HEADS

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the loss, summed over the images and divided by N, blanks included.

        ``forward`` calls what ``wrap`` gave; a plain network maps ``views.images`` to logits ``[N, C]``.
        """


@dataclass(frozen=True)
class RunContext:
    """What a run offers to whoever builds its objective.

    Attributes:
        accelerator: its device, precision and processes.
        workers: how many processes prepare images.
        say: tells a person something.
    """

    accelerator: Accelerator
    workers: int
    say: Callable[[str], None]


ObjectiveFactory = Callable[[RunContext], Objective]
"""Builds a run's objective once the run's processes are there."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """The labels, smoothed."""

    smoothing: float

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the weighted cross-entropy; see ``losses.cross_entropy``."""
        return cross_entropy(forward(views.images), views.targets, views.weights, smoothing=self.smoothing)
