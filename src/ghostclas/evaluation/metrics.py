"""Metrics of logits and labels: accuracy and confusion. Pure functions over numpy arrays.

All metrics use counts or float64 and process rows in blocks. So 50,000 x 1,000 logits (200 MB) need only a
few megabytes more, and the same arrays always give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHUNK_VALUES = 1 << 20
_PERCENT_DIGITS = 4
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class ClassMetrics:
    """One class against all others. A ratio with a zero denominator is ``None``."""

    name: str
    support: int
    """images of this class"""
    predicted: int
    """images that the model assigns to this class"""
    correct: int

    @property
    def precision(self) -> float | None:
        """The part of the images assigned to this class that belongs to it."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """The part of the images of this class that is assigned to it."""
        return self.correct / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        total = self.predicted + self.support
        return 2 * self.correct / total if total else None


def topk_accuracy(logits: Logits, labels: Labels, k: int = 1) -> float:
    """Return the percentage of images whose true class is among the ``k`` best; ties go to the lower index.

    Raises:
        ValueError: as ``check_answers``.
    """
    check_answers(logits, labels)
    return percent(int(np.count_nonzero(label_ranks(logits, labels) < k)), len(labels))


def label_ranks(logits: Logits, labels: Labels) -> Ints:
    """Return the number of classes ranked before the true one, int64 ``[N]``; ties rank by class index."""
    ranks = np.empty(len(labels), np.int64)
    indices = np.arange(logits.shape[1])
    for rows in row_chunks(logits):
        z, y = logits[rows], labels[rows, None]
        right = np.take_along_axis(z, y, axis=1)
        ranks[rows] = np.count_nonzero((z > right) | ((z == right) & (indices < y)), axis=1)
    return ranks


def best_class(logits: Logits) -> Ints:
    """Return the index of the largest logit of every image, int64 ``[N]``; the lower of equal ones."""
    return np.asarray(logits.argmax(axis=1), np.int64)


@dataclass(frozen=True, eq=False)
class Confusion:
    """A sparse confusion matrix: its memory grows with the images, not with the square of the classes.

    The three arrays, int64 ``[K]``, hold its K nonzero cells by row, then by column.
    """

    num_classes: int
    right: Ints
    """row: the true class"""
    predicted: Ints
    """column: the predicted class"""
    images: Ints
    """at least 1"""

    @classmethod
    def of(cls, labels: Labels, predicted: Labels, num_classes: int) -> Confusion:
        """Count pairs of true classes ``labels`` and ``predicted`` classes, int ``[N]`` each."""
        cells = labels.astype(np.int64) * num_classes + predicted
        found, images = np.unique(cells, return_counts=True)
        return cls(num_classes, *np.divmod(found, num_classes), images.astype(np.int64))

    def dense(self) -> Ints:
        """Return the dense matrix, int64 ``[C, C]``: 8 bytes a cell, 200 MB for 5,000 classes."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        matrix[self.right, self.predicted] = self.images
        return matrix

    def cells(self) -> list[tuple[int, int, int]]:
        """Return ``(true class, predicted class, images)`` of every nonzero cell."""
        return list(zip(self.right.tolist(), self.predicted.tolist(), self.images.tolist(), strict=True))

    def mistakes(self) -> list[tuple[int, int, int]]:
        """Return the cells off the diagonal, most images first; the lower classes first among equal ones."""
        wrong = np.flatnonzero(self.right != self.predicted)
        order = wrong[np.argsort(-self.images[wrong], kind="stable")].tolist()
        cells = self.cells()
        return [cells[i] for i in order]

    def per_class(self, classes: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
        """Return the metrics of every class; ``classes`` are the names."""
        hit = self.right == self.predicted
        columns = (
            _counted(self.right, self.images, self.num_classes),
            _counted(self.predicted, self.images, self.num_classes),
            _counted(self.right[hit], self.images[hit], self.num_classes),
        )
        return tuple(
            ClassMetrics(name, support, predicted, correct)
            for name, support, predicted, correct in zip(classes, *columns, strict=True)
        )


def _counted(classes: Ints, images: Ints, num_classes: int) -> list[int]:
    total = np.zeros(num_classes, np.int64)
    np.add.at(total, classes, images)
    return [int(count) for count in total]


def percent(part: int, whole: int) -> float:
    """Return ``part`` of ``whole`` in percent, rounded to four decimals."""
    return round(100 * part / whole, _PERCENT_DIGITS)


def wilson_interval(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion, in percent.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    share, z2 = part / whole, _Z95**2
    centre = share + z2 / (2 * whole)
    half = _Z95 * sqrt(share * (1 - share) / whole + z2 / (4 * whole**2))
    low, high = ((centre + sign * half) / (1 + z2 / whole) for sign in (-1, 1))
    return round(100 * max(low, 0.0), _PERCENT_DIGITS), round(100 * min(high, 1.0), _PERCENT_DIGITS)


def shifted(logits: Logits) -> Floats:
    """Return the logits in float64, each row shifted so that its maximum is zero."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide


def row_chunks(logits: Logits, count: int | None = None) -> Iterator[slice]:
    """Yield slices of ``count`` rows, all of them if absent, with about ``CHUNK_VALUES`` values each."""
    rows = max(1, CHUNK_VALUES // logits.shape[1])
    for start in range(0, len(logits) if count is None else count, rows):
        yield slice(start, start + rows)


def check_answers(logits: Logits, labels: Labels) -> None:
    """Raise ValueError for ``logits`` and ``labels`` that do not fit each other."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or 0 in logits.shape:
        raise ValueError(f"expected logits [N, C] and labels [N], got {logits.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels lie in {labels.min()} to {labels.max()} for {logits.shape[1]} classes")
    if not all(np.isfinite(logits[rows]).all() for rows in row_chunks(logits)):
        raise ValueError("some logits are not finite")
