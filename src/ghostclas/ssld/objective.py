"""The loss of the third step of SSLD, which trains the student.

Cui et al., "Beyond Self-Supervision: A Simple Yet Effective Network Distillation Alternative to Improve
Backbones", 2021 (arXiv 2103.05959).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ghostclas.data.pool import Joined
from ghostclas.data.source import Source
from ghostclas.errors import UsageError
from ghostclas.ssld.classmap import ClassMap, map_classes
from ghostclas.ssld.config import DistilConfig
from ghostclas.ssld.feature_maps import FeatureDistillation
from ghostclas.ssld.losses import Loss, decoupled_kl, soft_kl, symmetric_kl
from ghostclas.ssld.mining import open_mined
from ghostclas.ssld.run_config import SsldConfig
from ghostclas.ssld.stored_views import StoredViews, store_views
from ghostclas.ssld.targets import TeacherTargets
from ghostclas.ssld.teacher import Teacher
from ghostclas.ssld.torch_teacher import TorchTeacher
from ghostclas.training.objective import Objective, RunContext, Views


def with_mined(train: Source, config: DistilConfig) -> Source:
    """Return the labelled images, followed by those that ``config.mined`` lists.

    Raises:
        DataError: the list does not fit the classes or its pool.
    """
    return Joined((train, open_mined(config.mined, tuple(train.classes)))) if config.mined else train


def build_objective(
    config: SsldConfig, teacher: Teacher, labelled: Source, source: Source, context: RunContext
) -> Objective:
    """Return the loss of the student. It may change the teacher's batch normalisation.

    Args:
        config: the settings of distillation.
        teacher: the teacher.
        labelled: the labelled images, to whose classes the teacher's outputs are mapped.
        source: all images to learn from.
        context: the device and precision for the teacher.

    Raises:
        UsageError: the teacher takes images of another size, or its feature maps are not available.
        DataError: the teacher does not know a class, the cache is another teacher's, or the disk is full.
    """
    distil, accelerator, mapping = config.distil, context.accelerator, config.teacher.mapping
    classes = map_classes(
        teacher.labels, teacher.outputs, labelled, teacher.name, Path(mapping) if mapping else None
    )
    _check_sides(config, teacher, context.say)
    if isinstance(teacher, TorchTeacher) and distil.batch_norm == "train" and not distil.views:
        teacher.normalise_by_batch()
    elif distil.batch_norm == "train":
        context.say(
            "the teacher's batch norms keep learned statistics: its answers are stored, or it is not torch"
        )
    if isinstance(teacher, TorchTeacher) and config.loop.compile:
        teacher.compile()
    targets = TeacherTargets(
        teacher,
        classes,
        mean=config.data.mean,
        std=config.data.std,
        resolution=distil.resolution,
        device=accelerator.device,
        autocast=accelerator.autocast,
    )
    loss = build_loss(distil)
    if distil.features:
        return FeatureDistillation(
            targets.logits_and_maps, targets.channels(), loss, distil.features, distil.blockwise_epochs
        )
    if not distil.views:
        return LogitDistillation(targets.logits, loss)
    stored = store_views(
        config, teacher, targets.outputs, source, accelerator, workers=context.workers, say=context.say
    )
    return StoredDistillation(stored, classes, loss)


def build_loss(config: DistilConfig) -> Loss:
    """Return the loss, which takes student logits and teacher logits ``[N, C]``, and weights ``[N]``."""
    if config.loss == "kl":
        return lambda student, teacher, weights: soft_kl(
            student, teacher, weights, temperature=config.temperature
        )
    if config.loss == "dkd":
        return lambda student, teacher, weights: decoupled_kl(
            student,
            teacher,
            weights,
            temperature=config.temperature,
            alpha=config.dkd_alpha,
            beta=config.dkd_beta,
        )
    return symmetric_kl


@dataclass(frozen=True)
class LogitDistillation(Objective):
    """The teacher sees every view that the student sees, mixtures included ("consistent teaching").

    ``targets`` maps the student's images, normalised float ``[N, 3, H, W]``, to the teacher's logits
    ``[N, C]``.
    """

    targets: Callable[[Tensor], Tensor]
    loss: Loss

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the loss against the teacher's answers to the same views."""
        targets = self.targets(views.images)
        return self.loss(forward(views.images), targets, views.weights)


@dataclass(frozen=True)
class StoredDistillation(Objective):
    """Distillation from stored logits, whose stored seeds make the same views again."""

    stored: StoredViews
    classes: ClassMap
    loss: Loss

    def seeds(self, images: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.int64]:
        """Return the seeds of stored views; each epoch takes another view of an image."""
        return self.stored.seeds(images, epoch)

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the loss against the stored answers to these views."""
        answers = self.stored.outputs(views.indices.numpy())
        targets = torch.from_numpy(self.classes.logits(answers)).to(views.images.device)
        return self.loss(forward(views.images), targets, views.weights)


def _check_sides(config: SsldConfig, teacher: Teacher, say: Callable[[str], None]) -> None:
    distil = config.distil
    views = config.data.sides
    seen = {distil.resolution} if distil.resolution else set(views)
    if teacher.side is not None and seen != {teacher.side}:
        shown = " and ".join(f"{side} x {side}" for side in sorted(seen))
        raise UsageError(
            f"the teacher {teacher.name} takes images of {teacher.side} x {teacher.side} and would see "
            f"{shown}\n"
            f"       --set distil.resolution={teacher.side} scales the student's views for it"
        )
    usual = teacher.preprocess.crop
    if seen != {usual}:
        how = "" if distil.features else " (distil.resolution)"
        say(f"the teacher works at {usual} x {usual} and sees {max(seen)} x {max(seen)}{how}")
