"""Calibration of scores as probabilities, and the temperature that improves it. It needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostclas.evaluation.metrics import Floats, Ints, Labels, Logits, best_class, row_chunks, shifted

RELIABILITY_BINS = 15
TEMPERATURES = (0.05, 20.0)
"""The range of the search for a temperature; one at its edge means that the data do not determine it."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose best score lies in ``(lower, upper]``; the means are ``None`` without images."""

    lower: float
    upper: float
    count: int
    correct: int
    confidence: float | None
    """mean score of the best class"""

    @property
    def accuracy(self) -> float | None:
        """The part of the images that is classified correctly."""
        return self.correct / self.count if self.count else None


@dataclass(frozen=True)
class Calibration:
    """How well the scores ``softmax(logits / temperature)`` match probabilities."""

    temperature: float
    nll: float
    """mean negative log-likelihood of the right class, in nats"""
    ece: float
    """expected calibration error, 0 to 1; see ``reliability``"""
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature that was fitted on one half of the images, and its effect on the other half."""

    temperature: float
    fitted_on: int
    """images of the half that the temperature was fitted on"""
    before: Calibration
    """of the other half, at the model's temperature"""
    after: Calibration
    """of the other half, at the fitted temperature"""

    @property
    def determined(self) -> bool:
        """Whether the images determine a temperature: it is not at the edge of ``TEMPERATURES``."""
        return self.temperature not in TEMPERATURES

    @property
    def held_out(self) -> int:
        """The number of images in the other half."""
        return sum(b.count for b in self.after.bins)


def halve(labels: Labels) -> tuple[Ints, Ints]:
    """Split images with these labels, int ``[N]``, into two halves: row indices, int64, ascending.

    Every class is split evenly, up to one image, and always in the same way. A single image is in both
    halves.
    """
    order = np.argsort(labels, kind="stable")
    if len(order) < 2:
        return order, order
    return np.sort(order[::2]), np.sort(order[1::2])


def recalibrate(logits: Logits, labels: Labels, temperature: float = 1.0) -> TemperatureFit:
    """Fit a temperature on one half of the images and measure it on the other; see ``halve``.

    Args:
        logits: float32 ``[N, C]``, from the network.
        labels: the true classes, int ``[N]``.
        temperature: the model's temperature, for comparison.
    """
    fitted, held_out = halve(labels)
    found = fit_temperature(logits, labels, rows=fitted)
    return TemperatureFit(
        temperature=found,
        fitted_on=len(fitted),
        before=calibrate(logits, labels, temperature, rows=held_out),
        after=calibrate(logits, labels, found, rows=held_out),
    )


def cross_recalibrate(logits: Logits, labels: Labels, temperature: float = 1.0) -> TemperatureFit:
    """Fit a temperature on all images, and measure what fitting does: for few images.

    Each half (see ``halve``) is measured at the temperature of the other half, so that no image is measured
    at a temperature that knows it. ``after`` holds these scores of all images, ``before`` those at the
    model's temperature.

    Args:
        logits: float32 ``[N, C]``, from the network.
        labels: the true classes, int ``[N]``.
        temperature: the model's temperature, for comparison.
    """
    halves = halve(labels)
    confidence, log_likelihood = scores(logits, labels, temperature)
    for fitted, held_out in (halves, halves[::-1]):
        found = fit_temperature(logits, labels, rows=fitted)
        confidence[held_out], log_likelihood[held_out] = scores(logits, labels, found, rows=held_out)
    bins, ece = reliability(confidence, best_class(logits) == labels)
    found = fit_temperature(logits, labels)
    return TemperatureFit(
        temperature=found,
        fitted_on=len(labels),
        before=calibrate(logits, labels, temperature),
        after=Calibration(found, -float(log_likelihood.mean()), ece, bins),
    )


def calibrate(logits: Logits, labels: Labels, temperature: float, *, rows: Ints | None = None) -> Calibration:
    """Return the calibration of ``softmax(logits / temperature)`` over ``rows``, or all when absent."""
    confidence, log_likelihood = scores(logits, labels, temperature, rows=rows)
    correct = best_class(logits) == labels
    bins, ece = reliability(confidence, correct if rows is None else correct[rows])
    return Calibration(temperature, -float(log_likelihood.mean()), ece, bins)


def scores(
    logits: Logits, labels: Labels, temperature: float = 1.0, *, rows: Ints | None = None
) -> tuple[Floats, Floats]:
    """Return the best score and the log of the true class's score of every image, float64 ``[N]`` each.

    The images are those in ``rows``, in their order, or all.
    """
    rows = np.arange(len(labels)) if rows is None else rows
    confidence = np.empty(len(rows), np.float64)
    log_likelihood = np.empty(len(rows), np.float64)
    for part in row_chunks(logits, len(rows)):
        chunk = rows[part]
        z = shifted(logits[chunk]) / temperature
        log_sum = np.log(np.exp(z).sum(axis=1))
        confidence[part] = np.exp(-log_sum)
        log_likelihood[part] = np.take_along_axis(z, labels[chunk, None], axis=1)[:, 0] - log_sum
    return confidence, log_likelihood


def reliability(
    confidence: Floats, correct: npt.NDArray[np.bool_], bins: int = RELIABILITY_BINS
) -> tuple[tuple[ReliabilityBin, ...], float]:
    """Return the reliability diagram of best scores ``[N]`` and its expected calibration error, 0 to 1.

    ``bins`` intervals ``(lower, upper]`` of equal width hold the images by best score. The error is the mean
    over images of ``|accuracy - mean score|`` of the image's interval:
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


def fit_temperature(logits: Logits, labels: Labels, *, rows: Ints | None = None) -> float:
    """Return the temperature T within ``TEMPERATURES`` at which ``softmax(logits / T)`` has the lowest NLL.

    Temperature scaling is by Guo et al., ICML 2017. The NLL is convex in ``1 / T``, so the search is for a
    zero of its slope: by Newton's steps, and by bisection where such a step would leave the bracket. A slope
    without a zero (every image right, or none better than chance) gives the nearer end of the range. One that
    is zero at 1 already, as for a single class, gives 1. With ``rows``, only those images count.
    """
    rows = np.arange(len(labels)) if rows is None else rows
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    beta = 1.0
    if _slope(logits, labels, rows, beta)[0] == 0:
        return 1.0
    if _slope(logits, labels, rows, low)[0] >= 0:
        return TEMPERATURES[1]
    if _slope(logits, labels, rows, high)[0] <= 0:
        return TEMPERATURES[0]
    while high - low > 1e-9 * low:
        slope, curvature = _slope(logits, labels, rows, beta)
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


def _slope(logits: Logits, labels: Labels, rows: Ints, beta: float) -> tuple[float, float]:
    """Return the first and second derivatives by ``beta`` of the NLL of ``softmax(beta * logits)``."""
    first = second = 0.0
    for part in row_chunks(logits, len(rows)):
        chunk = rows[part]
        z = shifted(logits[chunk])
        p = np.exp(beta * z)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        first += float((mean - np.take_along_axis(z, labels[chunk, None], axis=1)[:, 0]).sum())
        second += float(((p * z**2).sum(axis=1) - mean**2).sum())
    return first / len(rows), second / len(rows)
