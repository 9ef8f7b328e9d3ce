"""The teacher's answers to the student's images: the targets of distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostclas.errors import UsageError
from ghostclas.models.maps import LogitsAndMaps, has_maps, map_channels
from ghostclas.spec import Triple
from ghostclas.ssld.classmap import ClassMap
from ghostclas.ssld.teacher import Teacher
from ghostclas.ssld.torch_teacher import TorchTeacher


class TeacherTargets:
    """A teacher that answers the student's normalised images with logits of the student's classes.

    Args:
        teacher: a torch network, or a teacher that takes uint8.
        classes: the mapping from its outputs to the classes.
        mean: with ``std``, the normalisation of the student's images, for pixels in 0 to 1.
        std: see ``mean``.
        resolution: the side to which images are resized for the teacher; unchanged when ``None``.
        device: the device of the student's images.
        autocast: returns the context in which a torch network runs.
    """

    def __init__(
        self,
        teacher: Teacher,
        classes: ClassMap,
        *,
        mean: Triple,
        std: Triple,
        resolution: int | None,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._teacher, self._classes = teacher, classes
        self._resolution, self._autocast = resolution, autocast
        self._mean, self._std = (
            255 * torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std)
        )

    def outputs(self, pixels: Tensor) -> Tensor:
        """Return the teacher's own logits ``[N, outputs]`` of float pixels ``[N, 3, H, W]`` in 0 to 255."""
        side = self._resolution
        if side is not None and pixels.shape[-1] != side:
            pixels = F.interpolate(
                pixels, (side, side), mode="bicubic", antialias=True, align_corners=False
            ).clamp(0, 255)
        if isinstance(self._teacher, TorchTeacher):
            with self._autocast():
                return self._teacher.answer(pixels).float()
        images = pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(self._teacher.run(images)).to(pixels.device)

    def logits(self, images: Tensor) -> Tensor:
        """Return logits ``[N, C]`` of the student's images, normalised float ``[N, 3, H, W]``."""
        with torch.no_grad():
            return select(self.outputs(self._pixels(images)), self._classes)

    def logits_and_maps(self, images: Tensor) -> LogitsAndMaps:
        """Return the same, and the teacher's feature maps of the images, whose channels ``channels`` returns.

        Call ``channels`` first: it refuses a teacher without feature maps.
        """
        assert isinstance(self._teacher, TorchTeacher)
        with torch.no_grad(), self._autocast():
            logits, maps = self._teacher.answer_with_maps(self._pixels(images))
            return LogitsAndMaps(select(logits.float(), self._classes), maps)

    def channels(self) -> Sequence[int]:
        """Return the number of channels of each of the teacher's feature maps.

        Raises:
            UsageError: the teacher's feature maps are not available.
        """
        if not isinstance(self._teacher, TorchTeacher) or not has_maps(self._teacher.network):
            raise UsageError(
                f"distil.features compares feature maps, and {self._teacher.name} does not offer its own\n"
                "       take efficientnet_lite0 to 2, or a run or bundle of one or of a GhostNet; or leave "
                "it out with --set distil.features=0"
            )
        return map_channels(self._teacher.network)

    def _pixels(self, images: Tensor) -> Tensor:
        return images.float() * self._std + self._mean


def select(outputs: Tensor, classes: ClassMap) -> Tensor:
    """Turn the teacher's logits ``[N, outputs]`` into the classes' ``[N, C]``; see ``ClassMap.logits``."""
    if classes.is_identity:
        return outputs
    ours = outputs[:, torch.from_numpy(classes.first).to(outputs.device)]
    for index, columns in classes.merged.items():
        ours[:, index] = outputs[:, list(columns)].logsumexp(1)
    return ours
