"""Learning from a teacher instead of labels: the loss of the third step of SSLD.

Cui et al., "Beyond Self-Supervision: A Simple Yet Effective Network Distillation Alternative to Improve
Backbones", 2021 (arXiv 2103.05959). ``training.loop`` runs it as it runs everything else; this module gives
it the pictures (labelled and mined ones together) and the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostclas.data.pool import Joined
from ghostclas.data.source import Source
from ghostclas.errors import UsageError
from ghostclas.models.maps import LogitsAndMaps, has_maps, map_channels
from ghostclas.ssld.classmap import ClassMap, map_classes
from ghostclas.ssld.config import DistilConfig, TeacherConfig
from ghostclas.ssld.feature_maps import Hints
from ghostclas.ssld.losses import Loss, decoupled_kl, soft_kl, symmetric_kl
from ghostclas.ssld.mine import open_mined
from ghostclas.ssld.run_config import SsldConfig
from ghostclas.ssld.stored_views import StoredViews, store_views
from ghostclas.ssld.teacher import OnnxTeacher, Teacher
from ghostclas.ssld.torch_teacher import TorchTeacher, open_torch_teacher
from ghostclas.training.objective import Objective, RunContext, Views

Answer = Callable[[Tensor], Tensor]
Say = Callable[[str], None]


def with_mined(train: Source, config: DistilConfig) -> Source:
    """Return the labelled pictures and, after them, those that ``config.mined`` lists.

    Raises:
        DataError: the list does not fit the classes or its pool.
    """
    return Joined((train, open_mined(config.mined, tuple(train.classes)))) if config.mined else train


def build_objective(config: SsldConfig, labelled: Source, source: Source, context: RunContext) -> Objective:
    """Open the teacher and return what the student minimises.

    Args:
        config: whose ``distil`` names the teacher.
        labelled: the labelled pictures, whose classes the teacher's outputs are matched with.
        source: every picture to learn from.
        context: whose device and precision the teacher uses.

    Raises:
        UsageError: a teacher that does not exist, or takes pictures of another size.
        DataError: classes that the teacher does not know, a cache of another teacher, a full disk.
    """
    distil, accelerator, say = config.distil, context.accelerator, context.say
    teacher = _open(config.teacher, str(accelerator.device))
    classes = map_classes(
        teacher.labels,
        teacher.outputs,
        labelled,
        teacher.name,
        Path(config.teacher.mapping) if config.teacher.mapping else None,
    )
    _check_sides(config, teacher, say)
    if isinstance(teacher, TorchTeacher) and distil.batch_norm == "train" and not distil.views:
        teacher.normalise_by_batch()
    elif distil.batch_norm == "train":
        say("the teacher normalises as it learned to: its answers are stored, or it is no network of torch")
    if isinstance(teacher, TorchTeacher) and config.loop.compile:
        teacher.compile()
    mean, std = (
        255 * torch.tensor(values, device=accelerator.device).view(1, 3, 1, 1)
        for values in (config.data.mean, config.data.std)
    )
    if distil.features:
        teach, channels = answering_with_maps(teacher, classes, accelerator.autocast)
        loss = build_loss(distil)
        return Hints(teach, channels, loss, distil.features, distil.blockwise_epochs, mean, std)
    answer = answering(teacher, distil.resolution, accelerator.autocast)
    if not distil.views:
        return OnTheFly(answer, classes, build_loss(distil), mean, std)
    stored = store_views(config, teacher, answer, source, accelerator, workers=context.workers, say=say)
    return FromStored(stored, classes, build_loss(distil))


def build_loss(config: DistilConfig) -> Loss:
    """Return the loss of student logits, teacher logits, both ``[N, C]``, and weights ``[N]``."""
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
class OnTheFly(Objective):
    """The teacher sees every view that the student sees, mixtures included ("consistent teaching").

    ``answer`` maps float pixels ``[N, 3, H, W]`` in 0 to 255 to the teacher's logits ``[N, outputs]``;
    ``mean`` and ``std``, ``[1, 3, 1, 1]`` in the same units, undo the student's normalisation.
    """

    answer: Answer
    classes: ClassMap
    loss: Loss
    mean: Tensor
    std: Tensor

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the loss against the teacher's answers to the same views."""
        with torch.no_grad():
            taught = select(self.answer(views.images.float() * self.std + self.mean), self.classes)
        return self.loss(forward(views.images), taught, views.weights)


@dataclass(frozen=True)
class FromStored(Objective):
    """The teacher's answers were stored together with what makes the same views again."""

    stored: StoredViews
    classes: ClassMap
    loss: Loss

    def seeds(self, images: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.int64]:
        """Return the seeds of stored views, another view of each picture in each epoch."""
        return self.stored.seeds(images, epoch)

    def __call__(self, forward: Callable[..., Any], views: Views) -> Tensor:
        """Return the loss against the stored answers to these views."""
        answers = self.stored.outputs(views.indices.numpy())
        taught = torch.from_numpy(self.classes.logits(answers)).to(views.images.device)
        return self.loss(forward(views.images), taught, views.weights)


def select(outputs: Tensor, classes: ClassMap) -> Tensor:
    """Turn the teacher's logits ``[N, outputs]`` into ours ``[N, C]``; see ``ClassMap.logits``."""
    if classes.is_identity:
        return outputs
    ours = outputs[:, torch.from_numpy(classes.first).to(outputs.device)]
    for index, columns in classes.merged.items():
        ours[:, index] = outputs[:, list(columns)].logsumexp(1)
    return ours


def answering(
    teacher: Teacher, resolution: int | None, autocast: Callable[[], AbstractContextManager[None]]
) -> Answer:
    """Return a function from float pixels ``[N, 3, H, W]`` in 0 to 255 to the teacher's logits.

    Args:
        teacher: a network of torch, or one that takes uint8.
        resolution: the side that views are brought to for it; theirs when ``None``.
        autocast: makes the context in which a network of torch runs.
    """

    def answer(pixels: Tensor) -> Tensor:
        if resolution is not None and pixels.shape[-1] != resolution:
            pixels = F.interpolate(
                pixels, (resolution, resolution), mode="bicubic", antialias=True, align_corners=False
            ).clamp(0, 255)
        if isinstance(teacher, TorchTeacher):
            with autocast():
                return teacher.answer(pixels).float()
        images = pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(teacher.run(images)).to(pixels.device)

    return answer


def answering_with_maps(
    teacher: Teacher, classes: ClassMap, autocast: Callable[[], AbstractContextManager[None]]
) -> tuple[Callable[[Tensor], LogitsAndMaps], list[int]]:
    """Return a function from float pixels ``[N, 3, H, W]`` in 0 to 255 to the teacher's answers and maps.

    The answers are those to our classes; the second value is how many channels each map has.

    Raises:
        UsageError: a teacher whose maps cannot be had.
    """
    if not isinstance(teacher, TorchTeacher) or not has_maps(teacher.network):
        raise UsageError(
            f"distil.features compares feature maps, and those of {teacher.name} cannot be had\n"
            "       take efficientnet_lite0 to 2, or a run or bundle of one or of a GhostNet; or leave it "
            "out with --set distil.features=0"
        )
    ask = teacher.answer_with_maps

    def teach(pixels: Tensor) -> LogitsAndMaps:
        with autocast():
            logits, maps = ask(pixels)
        return LogitsAndMaps(select(logits.float(), classes), maps)

    return teach, map_channels(teacher.network)


def _open(config: TeacherConfig, device: str) -> Teacher:
    if Path(config.model).suffix.lower() == ".onnx":
        # Beside torch, on as many cores as torch uses here.
        return OnnxTeacher(config, threads=torch.get_num_threads())
    return open_torch_teacher(config, device=device)


def _check_sides(config: SsldConfig, teacher: Teacher, say: Say) -> None:
    distil = config.distil
    views = config.data.sides
    seen = {distil.resolution} if distil.resolution else set(views)
    if teacher.side is not None and seen != {teacher.side}:
        shown = " and ".join(f"{side} x {side}" for side in sorted(seen))
        raise UsageError(
            f"the teacher {teacher.name} takes pictures of {teacher.side} x {teacher.side} and would see "
            f"{shown}\n"
            f"       --set distil.resolution={teacher.side} scales the student's views for it"
        )
    usual = teacher.preprocess.crop
    if seen != {usual}:
        how = "" if distil.features else " (distil.resolution)"
        say(f"the teacher works at {usual} x {usual} and sees {max(seen)} x {max(seen)}{how}")
