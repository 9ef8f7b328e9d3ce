"""The objective that training minimises: cross-entropy on labels, or another loss behind this contract."""

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
    """A loss, the views that it needs, and the outputs that it needs of the network.

    ``training.input.loader`` and ``training.loop`` know nothing else of it. By default an objective takes any
    views and their logits.
    """

    def wrap(self, student: nn.Module) -> nn.Module:
        """Return the module to train: the network, or one around it with more outputs than logits."""
        return student

    def seeds(self, images: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.int64] | None:
        """Return the seed of each image's view in this epoch, int64 ``[N]``, or ``None`` for any."""
        return None

    def heads(self) -> tuple[str, ...]:
        """Return the name prefixes of those parameters of the wrapped network that start at random."""
        return HEADS

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the loss, summed over the images and divided by N, blanks included.

        ``forward`` calls what ``wrap`` gave; a plain network maps ``views.images`` to logits ``[N, C]``.
        """


@dataclass(frozen=True)
class RunContext:
    """What a run gives to the builder of its objective.

    Attributes:
        accelerator: its device, precision and processes.
        workers: how many processes prepare images.
        say: prints a message for the user.
    """

    accelerator: Accelerator
    workers: int
    say: Callable[[str], None]


ObjectiveFactory = Callable[[RunContext], Objective]
"""Builds the objective of a run after its processes have started."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy on smoothed labels."""

    smoothing: float

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the weighted cross-entropy; see ``losses.cross_entropy``."""
        return cross_entropy(forward(views.images), views.targets, views.weights, smoothing=self.smoothing)
