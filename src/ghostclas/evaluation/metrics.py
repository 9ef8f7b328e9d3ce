"""What logits and labels say together: accuracy, confusion, calibration. Pure functions over numpy arrays.

Everything here is computed from counts or in float64, in rows at a time, so that 50,000 x 1,000 logits
(200 MB) need only a few megabytes more, and the same arrays always give the same figures.
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

RELIABILITY_BINS = 15
TEMPERATURES = (0.05, 20.0)
"""The range in which a temperature is looked for; one at its edge means that the data decide nothing."""

_CHUNK_VALUES = 1 << 20
_PERCENT_DIGITS = 4
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class ClassMetrics:
    """One class, one against all others. A ratio whose denominator is zero is ``None``."""

    name: str
    support: int
    """images that are of this class"""
    predicted: int
    """images that the model says are of this class"""
    correct: int

    @property
    def precision(self) -> float | None:
        """Of the images said to be of this class, the part that is."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Of the images of this class, the part that was found."""
        return self.correct / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        total = self.predicted + self.support
        return 2 * self.correct / total if total else None


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose best score lies in ``(lower, upper]``; the means are ``None`` where there are none."""

    lower: float
    upper: float
    count: int
    correct: int
    confidence: float | None
    """mean score of the best class"""

    @property
    def accuracy(self) -> float | None:
        """The part of them that is right."""
        return self.correct / self.count if self.count else None


@dataclass(frozen=True)
class Calibration:
    """How far the scores ``softmax(logits / temperature)`` can be read as probabilities."""

    temperature: float
    nll: float
    """mean negative log-likelihood of the right class, in nats"""
    ece: float
    """expected calibration error, 0 to 1; see :func:`reliability`"""
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, eq=False)
class Summary:
    """Every figure that logits ``[N, C]`` and labels ``[N]`` determine."""

    images: int
    correct_top1: int
    correct_top5: int | None
    """``None`` for five classes or fewer, where it would say nothing"""
    confusion: Ints
    """int64 ``[C, C]``: row is the right class, column the predicted one"""
    per_class: tuple[ClassMetrics, ...]
    calibration: Calibration
    """at the temperature that was given"""
    fitted: Calibration
    """at the temperature that fits these very images best"""

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
        """Mean F1 over the classes that have images, each class counting the same."""
        return float(np.mean([c.f1 for c in self.per_class if c.support]))

    @property
    def mean_recall(self) -> float:
        """Mean recall over the classes that have images, also called balanced accuracy."""
        return float(np.mean([c.recall for c in self.per_class if c.support]))


def summarize(
    logits: Logits, labels: Labels, *, classes: tuple[str, ...] | None = None, temperature: float = 1.0
) -> Summary:
    """Return every figure for ``logits``, float32 ``[N, C]``, and class indices ``labels``, int ``[N]``.

    Args:
        logits: the model's answers.
        labels: the right classes.
        classes: the class names; the indices as text when absent.
        temperature: what the scores are computed with; it changes the calibration and nothing else.

    Raises:
        ValueError: no images, shapes that do not fit, a label out of range or a logit that is not finite.
    """
    _check(logits, labels)
    num_classes = logits.shape[1]
    names = classes or tuple(str(i) for i in range(num_classes))
    ranks = label_ranks(logits, labels)
    predicted = best_class(logits)
    confusion = confusion_matrix(labels, predicted, num_classes)
    fitted = fit_temperature(logits, labels)
    return Summary(
        images=len(labels),
        correct_top1=int(np.count_nonzero(ranks < 1)),
        correct_top5=int(np.count_nonzero(ranks < 5)) if num_classes > 5 else None,
        confusion=confusion,
        per_class=per_class(confusion, names),
        calibration=calibrate(logits, labels, temperature),
        fitted=calibrate(logits, labels, fitted),
    )


def topk_accuracy(logits: Logits, labels: Labels, k: int = 1) -> float:
    """Return the percentage of images whose right class is among the ``k`` best; ties go to the lower index.

    Raises:
        ValueError: as :func:`summarize`.
    """
    _check(logits, labels)
    return percent(int(np.count_nonzero(label_ranks(logits, labels) < k)), len(labels))


def label_ranks(logits: Logits, labels: Labels) -> Ints:
    """Return how many classes come before the right one, int64 ``[N]``; equal logits rank by class index."""
    ranks = np.empty(len(labels), np.int64)
    indices = np.arange(logits.shape[1])
    for rows in _chunks(logits):
        z, y = logits[rows], labels[rows, None]
        right = np.take_along_axis(z, y, axis=1)
        ranks[rows] = np.count_nonzero((z > right) | ((z == right) & (indices < y)), axis=1)
    return ranks


def best_class(logits: Logits) -> Ints:
    """Return the index of the largest logit of every image, int64 ``[N]``; of equal ones the lower."""
    return np.asarray(logits.argmax(axis=1), np.int64)


def percent(part: int, whole: int) -> float:
    """Return ``part`` of ``whole`` in percent, rounded to four digits after the point."""
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


def confusion_matrix(labels: Labels, predicted: Labels, num_classes: int) -> Ints:
    """Return int64 ``[C, C]``: how many images of class *row* were taken for class *column*."""
    cells = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class(confusion: Ints, classes: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
    """Return the figures of every class from a confusion matrix, int ``[C, C]``."""
    columns = (confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal())
    return tuple(
        ClassMetrics(name, support, predicted, correct)
        for name, support, predicted, correct in zip(classes, *(c.tolist() for c in columns), strict=True)
    )


def calibrate(logits: Logits, labels: Labels, temperature: float) -> Calibration:
    """Return the calibration of ``softmax(logits / temperature)``."""
    confidence, log_likelihood = scores(logits, labels, temperature)
    bins, ece = reliability(confidence, best_class(logits) == labels)
    return Calibration(temperature, -float(log_likelihood.mean()), ece, bins)


def scores(logits: Logits, labels: Labels, temperature: float = 1.0) -> tuple[Floats, Floats]:
    """Return the best score and the log of the right class's score of every image, float64 ``[N]`` each."""
    confidence = np.empty(len(labels), np.float64)
    log_likelihood = np.empty(len(labels), np.float64)
    for rows in _chunks(logits):
        z = _shifted(logits[rows]) / temperature
        log_sum = np.log(np.exp(z).sum(axis=1))
        confidence[rows] = np.exp(-log_sum)
        log_likelihood[rows] = np.take_along_axis(z, labels[rows, None], axis=1)[:, 0] - log_sum
    return confidence, log_likelihood


def reliability(
    confidence: Floats, correct: npt.NDArray[np.bool_], bins: int = RELIABILITY_BINS
) -> tuple[tuple[ReliabilityBin, ...], float]:
    """Return the reliability diagram of best scores ``[N]`` and its expected calibration error, 0 to 1.

    The images are put into ``bins`` intervals ``(lower, upper]`` of equal width by their best score. The
    error is the mean over images of ``|accuracy - mean score|`` of the interval that the image is in:
    M. P. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015, as
    used with 15 intervals by C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    edges = np.arange(bins + 1) / bins
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    right = np.bincount(index, weights=correct, minlength=bins)
    total = np.bincount(index, weights=confidence, minlength=bins)
    diagram = tuple(
        ReliabilityBin(
            lower=float(edges[i]),
            upper=float(edges[i + 1]),
            count=int(count[i]),
            correct=int(right[i]),
            confidence=float(total[i] / count[i]) if count[i] else None,
        )
        for i in range(bins)
    )
    return diagram, float(np.abs(right - total).sum() / len(confidence))


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the temperature T within ``TEMPERATURES`` at which ``softmax(logits / T)`` has the lowest NLL.

    Temperature scaling is by Guo et al., ICML 2017. The NLL is convex in ``1 / T``, so its slope is searched
    for a zero: by Newton's steps, and by halving the bracket wherever such a step would leave it. A slope
    without a zero (every image right, or none better than chance) gives the nearer end of the range; one that
    is zero at 1 already, as it is for a single class, gives 1.
    """
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    beta = 1.0
    if _slope(logits, labels, beta)[0] == 0:
        return 1.0
    if _slope(logits, labels, low)[0] >= 0:
        return TEMPERATURES[1]
    if _slope(logits, labels, high)[0] <= 0:
        return TEMPERATURES[0]
    while high - low > 1e-9 * low:
        slope, curvature = _slope(logits, labels, beta)
        if slope == 0:
            break
        low, high = (beta, high) if slope < 0 else (low, beta)
        newton = beta - slope / curvature if curvature > 0 else low
        step = newton if low < newton < high else (low + high) / 2
        converged = abs(step - beta) <= 1e-9 * beta
        beta = step
        if converged:
            break
    return 1 / beta


def _slope(logits: Logits, labels: Labels, beta: float) -> tuple[float, float]:
    """Return the first and the second derivative by ``beta`` of the NLL of ``softmax(beta * logits)``."""
    first = second = 0.0
    for rows in _chunks(logits):
        z = _shifted(logits[rows])
        p = np.exp(beta * z)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        first += float((mean - np.take_along_axis(z, labels[rows, None], axis=1)[:, 0]).sum())
        second += float(((p * z**2).sum(axis=1) - mean**2).sum())
    return first / len(labels), second / len(labels)


def _shifted(logits: Logits) -> Floats:
    """Return the logits in float64, each row moved so that its best is zero."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide


def _chunks(logits: Logits) -> Iterator[slice]:
    rows = max(1, _CHUNK_VALUES // logits.shape[1])
    for start in range(0, len(logits), rows):
        yield slice(start, start + rows)


def _check(logits: Logits, labels: Labels) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or 0 in logits.shape:
        raise ValueError(f"expected logits [N, C] and labels [N], got {logits.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels lie in {labels.min()} to {labels.max()} for {logits.shape[1]} classes")
    if not np.isfinite(logits).all():
        raise ValueError("some logits are not finite")
