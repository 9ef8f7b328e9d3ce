"""A student that also learns the teacher's feature maps.

Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, let one map of the student follow one of the
teacher's and call it a hint; here every size has one. Fed with the teacher's maps, the parts of the student
learn all at once and none waits for those before it (Li et al., "Blockwisely Supervised Neural Architecture
Search with Knowledge Distillation", CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostclas.errors import UsageError
from ghostclas.models.maps import LogitsAndMaps, MappedNetwork, has_maps, map_channels, run_with_maps
from ghostclas.ssld.losses import Loss, feature_map_loss
from ghostclas.training.objective import Objective, Views


class Hinted(nn.Module):
    """A student, and for each of its maps a 1x1 convolution to the teacher's channels where they differ.

    The convolutions are trained with it and thrown away.

    Args:
        student: the network that is kept.
        channels: those of the teacher's maps.
    """

    def __init__(self, student: MappedNetwork, channels: Sequence[int]) -> None:
        super().__init__()
        self.student = student
        self.channels = map_channels(student)
        self.projections = nn.ModuleList(
            nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
            for ours, theirs in zip(self.channels, channels, strict=True)
        )

    def forward(self, images: Tensor, given: Sequence[Tensor] = ()) -> LogitsAndMaps:
        """Map images ``[N, 3, H, W]`` to logits and projected maps; ``given`` as ``run_with_maps`` has it."""
        logits, maps = run_with_maps(self.student, images, given)
        pairs = zip(self.projections, maps, strict=True)
        return LogitsAndMaps(logits, [projection(each) for projection, each in pairs])


@dataclass(frozen=True)
class Hints(Objective):
    """The teacher's answers to every view that the student sees, and its feature maps of it.

    Attributes:
        teach: maps float pixels ``[N, 3, H, W]`` in 0 to 255 to the teacher's logits, as classes of ours, and
            its maps.
        channels: those of the teacher's maps.
        loss: of the answers.
        weight: of each map beside it.
        blockwise_epochs: for so long, each part of the student gets the teacher's map of the size before.
        mean: ``[1, 3, 1, 1]``, and ``std``: undo the student's normalisation.
    """

    teach: Callable[[Tensor], LogitsAndMaps]
    channels: Sequence[int]
    loss: Loss
    weight: float
    blockwise_epochs: float
    mean: Tensor
    std: Tensor

    def wrap(self, student: nn.Module) -> nn.Module:
        """Return the student with its projections.

        Raises:
            UsageError: a network whose maps are not known, or that cannot be fed the teacher's.
        """
        if not has_maps(student):
            raise UsageError(
                "distil.features compares maps of GhostNet and EfficientNet-Lite; the student is a "
                f"{type(student).__name__}\n       leave it out with --set distil.features=0"
            )
        hinted = Hinted(student, self.channels)
        if self.blockwise_epochs and hinted.channels[:-1] != list(self.channels[:-1]):
            theirs, ours = (", ".join(map(str, each[:-1])) for each in (self.channels, hinted.channels))
            raise UsageError(
                "distil.blockwise_epochs gives the student the teacher's feature maps; they have "
                f"{theirs} channels, and the student takes {ours}\n"
                "       leave it out with --set distil.blockwise_epochs=0"
            )
        return hinted

    def __call__(self, forward: Callable[..., LogitsAndMaps], views: Views) -> Tensor:
        """Return the loss against the teacher's answers and maps."""
        with torch.no_grad():
            taught = self.teach(views.images.float() * self.std + self.mean)
        fed = views.epoch < self.blockwise_epochs
        outputs = forward(views.images, taught.maps[:-1]) if fed else forward(views.images)
        answers = self.loss(outputs.logits, taught.logits, views.weights)
        pairs = zip(outputs.maps, taught.maps, strict=True)
        missed = [feature_map_loss(ours, theirs, views.weights) for ours, theirs in pairs]
        return answers + self.weight * torch.stack(missed).sum()
