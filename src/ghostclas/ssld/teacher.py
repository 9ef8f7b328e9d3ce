"""The contract of teachers, their preprocessing, and the names of their outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ghostclas.datasets.synsets import imagenet_synsets
from ghostclas.errors import DataError, UsageError
from ghostclas.spec import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec, ResizeSpec, Triple
from ghostclas.ssld.config import TeacherConfig

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Labels = tuple[tuple[str, ...], ...]

IMAGENET_OUTPUTS = 1000
DEFAULT_SIDE = 224


class Teacher(Protocol):
    """A frozen classifier.

    Attributes:
        name: the word that the user gave.
        digest: the sha256 of its weights and of all else that decides its answers, except preprocessing.
        outputs: the number of its logits.
        labels: the names of each output, or ``None``.
        preprocess: the preprocessing of its images.
        side: the only side in pixels that it takes, or ``None`` for any.
    """

    name: str
    digest: str
    outputs: int
    labels: Labels | None
    preprocess: PreprocessSpec
    side: int | None

    def run(self, images: UInt8) -> Float32:
        """Return float32 logits ``[N, outputs]`` of uint8 images ``[N, H, W, 3]``."""

    def close(self) -> None:
        """Free its resources."""


def preprocess_of(
    config: TeacherConfig,
    side: int | None,
    *,
    default_side: int = DEFAULT_SIDE,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
) -> PreprocessSpec:
    """Return a teacher's preprocessing: the configured values, otherwise its usual ones.

    Raises:
        UsageError: the teacher takes images of another size only, or the sizes do not fit each other.
    """
    if side is not None and config.resolution not in (None, side):
        raise UsageError(
            f"the teacher {config.model} takes images of {side} x {side}, not {config.resolution}; "
            "leave its resolution out"
        )
    crop = side or config.resolution or default_side
    try:
        return PreprocessSpec(
            resize=ResizeSpec(
                short_side=config.resize or round(crop * 256 / 224),
                interpolation=config.interpolation or "bilinear",
            ),
            crop=crop,
            mean=config.mean or mean,
            std=config.std or std,
        )
    except ValueError as error:
        problem = str(error).splitlines()[-1].split("[")[0].strip() or str(error)
        raise UsageError(f"the teacher {config.model} cannot prepare images so: {problem}") from None


def labels_of(config: TeacherConfig, outputs: int) -> Labels | None:
    """Return the names of a teacher's outputs: from ``config.classes``, or ImageNet's if there are 1000.

    Raises:
        DataError: the list has another length than the outputs.
    """
    if config.classes is not None:
        from ghostclas.data.labels import read_label_file

        names = read_label_file(Path(config.classes))
        if len(names) != outputs:
            raise DataError(
                f"{config.classes} names {len(names)} classes; {config.model} has {outputs} outputs"
            )
        return tuple((name,) for name in names)
    if outputs != IMAGENET_OUTPUTS:
        return None
    synsets = imagenet_synsets()
    return synsets and tuple((s.identifier, s.words, s.words.split(",")[0]) for s in synsets)


def view_of(teacher: Teacher) -> dict[str, Any]:
    """Return the preprocessing of whole images as plain JSON, for the teacher's cache."""
    view: dict[str, Any] = json.loads(teacher.preprocess.model_dump_json())
    return view
