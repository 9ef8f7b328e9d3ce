"""Feature distillation: the student learns the teacher's feature maps besides its logits.

Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, match one feature map of the student with one
of the teacher's; here every resolution has one. In blockwise distillation (Li et al., "Blockwisely Supervised
Neural Architecture Search with Knowledge Distillation", CVPR 2020) each block of the student takes the
teacher's feature map as its input, so that all blocks learn at once.
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


class ProjectedStudent(nn.Module):
    """A student, and a 1x1 convolution to the teacher's channels for each feature map whose channels differ.

    The convolutions are trained with the student and are not exported.

    Args:
        student: the network that is kept.
        channels: the channels of the teacher's feature maps.
    """

    def __init__(self, student: MappedNetwork, channels: Sequence[int]) -> None:
        super().__init__()
        self.student = student
        self.channels = map_channels(student)
        self.projections = nn.ModuleList(
            nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
            for ours, theirs in zip(self.channels, channels, strict=True)
        )

    def forward(self, images: Tensor, inputs: Sequence[Tensor] = ()) -> LogitsAndMaps:
        """Map images ``[N, 3, H, W]`` to logits and projected maps.

        Blocks take ``inputs`` in place of the student's own maps; see ``run_with_maps``.
        """
        logits, maps = run_with_maps(self.student, images, inputs)
        pairs = zip(self.projections, maps, strict=True)
        return LogitsAndMaps(logits, [projection(each) for projection, each in pairs])


@dataclass(frozen=True)
class FeatureDistillation(Objective):
    """The teacher's logits and feature maps of every view that the student sees.

    Attributes:
        targets: maps the student's images, normalised float ``[N, 3, H, W]``, to the teacher's logits of the
            classes and its feature maps.
        channels: the channels of the teacher's feature maps.
        loss: the loss of the logits.
        weight: the weight of each feature map's loss.
        blockwise_epochs: the epochs in which each block of the student takes the teacher's feature map as
            input.
    """

    targets: Callable[[Tensor], LogitsAndMaps]
    channels: Sequence[int]
    loss: Loss
    weight: float
    blockwise_epochs: float

    def wrap(self, student: nn.Module) -> nn.Module:
        """Return the student with its projections.

        Raises:
            UsageError: the network's feature maps are not known, or it cannot take the teacher's.
        """
        if not has_maps(student):
            raise UsageError(
                "distil.features compares maps of GhostNet and EfficientNet-Lite; the student is a "
                f"{type(student).__name__}\n       leave it out with --set distil.features=0"
            )
        projected = ProjectedStudent(student, self.channels)
        if self.blockwise_epochs and projected.channels[:-1] != list(self.channels[:-1]):
            theirs, ours = (", ".join(map(str, each[:-1])) for each in (self.channels, projected.channels))
            raise UsageError(
                "distil.blockwise_epochs gives the student the teacher's feature maps; they have "
                f"{theirs} channels, and the student takes {ours}\n"
                "       leave it out with --set distil.blockwise_epochs=0"
            )
        return projected

    def heads(self) -> tuple[str, ...]:
        """Return the prefixes of parameters with random initial values: classifier and projections."""
        return "student.classifier.", "projections."

    def __call__(self, forward: Callable[..., LogitsAndMaps], views: Views) -> Tensor:
        """Return the loss against the teacher's logits and feature maps."""
        targets = self.targets(views.images)
        blockwise = views.epoch < self.blockwise_epochs
        outputs = forward(views.images, targets.maps[:-1]) if blockwise else forward(views.images)
        answers = self.loss(outputs.logits, targets.logits, views.weights)
        pairs = zip(outputs.maps, targets.maps, strict=True)
        features = [feature_map_loss(ours, theirs, views.weights) for ours, theirs in pairs]
        return answers + self.weight * torch.stack(features).sum()
