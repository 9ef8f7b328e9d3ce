"""All figures that follow from logits and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostclas.evaluation.calibration import Calibration, TemperatureFit, calibrate, recalibrate
from ghostclas.evaluation.metrics import (
    ClassMetrics,
    Confusion,
    Labels,
    Logits,
    best_class,
    check_answers,
    label_ranks,
    percent,
)


@dataclass(frozen=True, eq=False)
class Summary:
    """All figures that follow from logits ``[N, C]`` and labels ``[N]``."""

    images: int
    correct_top1: int
    correct_top5: int | None
    """``None`` for five classes or fewer, where it would always be 100"""
    confusion: Confusion
    per_class: tuple[ClassMetrics, ...]
    calibration: Calibration
    """at the given temperature"""
    fitted: TemperatureFit
    """a better temperature, fitted on one half of the images and measured on the other"""

    @property
    def top1(self) -> float:
        """Top-1 accuracy in percent."""
        return percent(self.correct_top1, self.images)

    @property
    def top5(self) -> float | None:
        """Top-5 accuracy in percent, ``None`` for five classes or fewer."""
        return None if self.correct_top5 is None else percent(self.correct_top5, self.images)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that have images, with equal weights."""
        return float(np.mean([c.f1 for c in self.per_class if c.support]))

    @property
    def mean_recall(self) -> float:
        """Mean recall over the classes that have images, also called balanced accuracy."""
        return float(np.mean([c.recall for c in self.per_class if c.support]))


def summarize(
    logits: Logits, labels: Labels, *, classes: tuple[str, ...] | None = None, temperature: float = 1.0
) -> Summary:
    """Compute all figures from ``logits``, float32 ``[N, C]``, and class indices ``labels``, int ``[N]``.

    Args:
        logits: the logits of the model.
        labels: the true classes.
        classes: the class names; the indices as text when absent.
        temperature: the temperature of the scores; it affects the calibration alone.

    Raises:
        ValueError: there are no images, shapes do not fit, a label is out of range, or a logit is not finite.
    """
    check_answers(logits, labels)
    num_classes = logits.shape[1]
    names = classes or tuple(str(i) for i in range(num_classes))
    ranks = label_ranks(logits, labels)
    confusion = Confusion.of(labels, best_class(logits), num_classes)
    return Summary(
        images=len(labels),
        correct_top1=int(np.count_nonzero(ranks < 1)),
        correct_top5=int(np.count_nonzero(ranks < 5)) if num_classes > 5 else None,
        confusion=confusion,
        per_class=confusion.per_class(names),
        calibration=calibrate(logits, labels, temperature),
        fitted=recalibrate(logits, labels, temperature),
    )
