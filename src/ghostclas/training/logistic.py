"""Multinomial logistic regression with an L2 penalty that cross-validation chooses. Needs scipy, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostclas.extras import require

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
PENALTIES: Sequence[float] = tuple(float(value) for value in np.geomspace(1.0, 1e-4, 9))
"""Multiples of half the squared norm of the weights, beside the mean loss over the images; largest first, so
that each fit starts from the one before."""

_STEPS = 200
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class LinearClassifier:
    """``features @ weight.T + bias``: ``weight`` float32 ``[C, D]``, ``bias`` float32 ``[C]``."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    """the penalty that cross-validation chose"""
    loss: float
    """mean cross-entropy of images left out of a fit, in nats, at that penalty"""


def fit_classifier(
    features: NDArray[np.float32], labels: Ints, num_classes: int, *, seed: int = 0
) -> LinearClassifier:
    """Fit a linear classifier on features, and choose its L2 penalty by cross-validation.

    The features are scaled to mean 0 and variance 1, which the returned classifier contains. The penalty is
    the one with the lowest cross-entropy over ``FOLDS`` stratified folds, fewer where every class has fewer
    images. The problem is convex, and L-BFGS solves it (R. H. Byrd et al., "A limited memory algorithm for
    bound constrained optimization", SIAM J. Sci. Comput. 1995).

    Args:
        features: float32 ``[N, D]``.
        labels: class indices, int64 ``[N]``.
        num_classes: C; a class without an image gets a low score.
        seed: which images are in which fold.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    wide = features.astype(np.float64)
    mean, spread = wide.mean(axis=0), np.maximum(wide.std(axis=0), _LEAST_SPREAD)
    scaled = (wide - mean) / spread
    # Products this small take several threads twice as long as one.
    with require("threadpoolctl", extra="fast").threadpool_limits(1, "blas"):
        losses = _cross_validate(scaled, labels, num_classes, seed)
        best = int(losses.argmin())
        solution = np.zeros((num_classes, scaled.shape[1] + 1))
        for penalty in PENALTIES[: best + 1]:
            solution = _fit(scaled, labels, penalty, solution)
    weight = solution[:, :-1] / spread
    bias = solution[:, -1] - weight @ mean
    return LinearClassifier(
        weight.astype(np.float32),
        bias.astype(np.float32),
        PENALTIES[best],
        float(losses[best] / len(labels)),
    )


def _cross_validate(features: Floats, labels: Ints, num_classes: int, seed: int) -> Floats:
    """Return the sum of the losses of images left out of a fit, for each of ``PENALTIES``."""
    folds = stratified_folds(labels, seed=seed)
    losses = np.zeros(len(PENALTIES))
    for fold in np.unique(folds):
        held_out = folds == fold
        start = np.zeros((num_classes, features.shape[1] + 1))
        for number, penalty in enumerate(PENALTIES):
            start = _fit(features[~held_out], labels[~held_out], penalty, start)
            losses[number] += _losses(features[held_out], labels[held_out], start).sum()
    return losses


def stratified_folds(labels: Ints, *, seed: int = 0, folds: int = FOLDS) -> Ints:
    """Return the fold of each image, int64 ``[N]``: every class is spread evenly over them.

    There are as many folds as the largest class has images, at most ``folds`` and at least two.
    """
    count = int(np.clip(np.bincount(labels).max(), 2, folds))
    chance = np.random.default_rng(seed).permutation(len(labels))
    order = np.lexsort((chance, labels))
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % count
    return fold


def _fit(features: Floats, labels: Ints, penalty: float, start: Floats) -> Floats:
    """Return weights and bias, ``[C, D + 1]``, that minimise the mean loss and the penalty on the weights."""
    optimize = require("scipy.optimize", extra="fast")
    rows = np.arange(len(labels))

    def objective(flat: Floats) -> tuple[float, Floats]:
        solution = flat.reshape(start.shape)
        weight = solution[:, :-1]
        scores = features @ weight.T + solution[:, -1]
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        total = chances.sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0]) - scores[rows, labels]).mean())
        chances /= total
        chances[rows, labels] -= 1
        chances /= len(labels)
        slope = np.concatenate(
            [chances.T @ features + penalty * weight, chances.sum(axis=0)[:, None]], axis=1
        )
        return loss + 0.5 * penalty * float((weight**2).sum()), slope.ravel()

    found = optimize.minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return np.asarray(found.x, np.float64).reshape(start.shape)


def _losses(features: Floats, labels: Ints, solution: Floats) -> Floats:
    scores = features @ solution[:, :-1].T + solution[:, -1]
    scores -= scores.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels])
