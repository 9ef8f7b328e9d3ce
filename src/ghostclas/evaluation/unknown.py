"""The score below which a photo is unknown: fitted on photos of the model's classes, and on others if given.

The score is the best class's probability at the model's temperature, as by D. Hendrycks and K. Gimpel, "A
Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks", ICLR 2017. The
energy of the logits (W. Liu et al., NeurIPS 2020) was better for one of two models and worse for the other;
``benchmarks/unknown.py`` compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ghostclas.bundle import Bundle, Manifest, revise_manifest
from ghostclas.data import Source
from ghostclas.errors import DataError, ImageError, UsageError
from ghostclas.evaluation.calibration import scores
from ghostclas.evaluation.evaluation import Evaluation, evaluate, readable
from ghostclas.evaluation.metrics import Floats
from ghostclas.progress import Progress
from ghostclas.spec import PredictionError

if TYPE_CHECKING:
    from ghostclas.prediction import Classifier

Scores = npt.NDArray[np.floating[Any]]

COST = 0.05
"""The share of right answers that may become unknown where a person asks for a threshold."""

_STEPS = 10_000
"""A threshold is a whole number of these parts of one, rounded down."""


@dataclass(frozen=True)
class UnknownFit:
    """A threshold, and what it does to the photos that it was fitted on.

    New photos of the same kind lose at most the share ``cost`` of their right answers on average.
    """

    threshold: float
    """photos with a lower score are unknown; 0 where there are too few right answers for ``cost``"""
    cost: float
    right: int
    """right answers"""
    right_unknown: int
    """right answers that become unknown: what the threshold costs"""
    wrong: int
    wrong_unknown: int
    """wrong answers that become unknown"""
    others: int
    """photos of none of the classes"""
    others_unknown: int

    @property
    def determined(self) -> bool:
        """Whether there are enough right answers to keep the cost."""
        return self.threshold > 0


def fit_unknown(
    confidence: Scores, correct: npt.NDArray[np.bool_], others: Scores | None = None, *, cost: float = COST
) -> UnknownFit:
    """Fit the threshold below which a photo is unknown.

    Without ``others``, it is the largest threshold that loses at most the share ``cost`` of the right answers
    to new photos: of n right answers in the order of their scores, number ``floor(cost * (n + 1))``, a bound
    that holds for any distribution (V. Vovk et al., "Algorithmic Learning in a Random World", 2005). It needs
    ``1 / cost - 1`` right answers. With ``others``, it is the threshold up to that one with the largest
    difference between the share of them that becomes unknown and the share of right answers that does.

    Args:
        confidence: the best score of every photo, float ``[N]``, 0 to 1.
        correct: whether the best class is the true one, bool ``[N]``.
        others: the best score of photos of none of the classes, float ``[M]``.
        cost: more than 0, less than 1.

    Raises:
        UsageError: ``cost`` is no such share.
    """
    if not 0 < cost < 1:
        raise UsageError(f"cost is a share between 0 and 1, got {cost:g}")
    right, wrong = np.sort(confidence[correct]), confidence[~correct]
    foreign = np.sort(np.empty(0) if others is None else others)
    number = floor(cost * (len(right) + 1) + 1e-9)
    candidates = right[:number]
    threshold = 0.0
    if number:
        gain = np.zeros(number)
        if len(foreign):
            caught = np.searchsorted(foreign, candidates) / len(foreign)
            gain = caught - np.searchsorted(right, candidates) / len(right)
        # Without others, all gains are equal and the last is the largest threshold.
        best = int(np.flatnonzero(gain == gain.max())[0 if len(foreign) else -1])
        threshold = floor(candidates[best] * _STEPS) / _STEPS

    def below(values: Scores) -> int:
        return int(np.count_nonzero(values < threshold))

    return UnknownFit(
        threshold, cost, len(right), below(right), len(wrong), below(wrong), len(foreign), below(foreign)
    )


@dataclass(frozen=True, eq=False)
class ScoreFit:
    """The result of :func:`fit_scores`: what a bundle needs so that its scores say what it does not know."""

    evaluation: Evaluation
    temperature: float
    """the one that the scores had, or a better one that the photos determine"""
    unknown: UnknownFit
    others_bad: int
    """other photos that could not be read"""

    @property
    def tempered(self) -> bool:
        """Whether the temperature is another than the scores had."""
        return self.temperature != self.evaluation.fitted.before.temperature

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, for JSON."""
        fitted = self.evaluation.fitted
        return {
            "model": self.evaluation.model,
            "dataset": readable(self.evaluation.source.location),
            "images": self.evaluation.images,
            "temperature": self.temperature,
            "ece_before": fitted.before.ece,
            "ece_after": fitted.after.ece if self.tempered else fitted.before.ece,
            "unknown": asdict(self.unknown),
            "bad": len(self.evaluation.bad),
            "others_bad": self.others_bad,
        }


def fit_scores(
    classifier: Classifier,
    source: Source,
    others: Source | None = None,
    *,
    cost: float = COST,
    progress: Progress | None = None,
) -> ScoreFit:
    """Fit the temperature, and then the threshold of unknown photos at that temperature.

    The temperature stays where these photos determine none that is better on the half that it was not fitted
    on; see ``calibration.recalibrate``.

    Args:
        classifier: the model and the engine.
        source: labelled photos that the model was not trained on.
        others: photos of none of its classes; labels are ignored.
        cost: see :func:`fit_unknown`.
        progress: called with the number of photos done and their total.

    Raises:
        DataError: as ``evaluate``, or none of the other photos can be read.
        UsageError: as :func:`fit_unknown`.
    """
    if not 0 < cost < 1:
        raise UsageError(f"cost is a share between 0 and 1, got {cost:g}")
    evaluation = evaluate(classifier, source, progress=progress)
    fitted = evaluation.fitted
    temperature = classifier.postprocess.temperature
    if fitted.determined and fitted.after.nll < fitted.before.nll:
        temperature = fitted.temperature
    foreign = None if others is None else _best_scores(classifier, others, temperature, progress)
    confidence, _ = scores(evaluation.logits, evaluation.labels, temperature)
    return ScoreFit(
        evaluation,
        temperature,
        fit_unknown(confidence, evaluation.predicted == evaluation.labels, foreign, cost=cost),
        0 if others is None or foreign is None else len(others.samples) - len(foreign),
    )


def _best_scores(
    classifier: Classifier, source: Source, temperature: float, progress: Progress | None
) -> Floats:
    found: list[float] = []
    total = len(source.samples)

    def contents() -> Iterator[bytes]:
        for index in range(total):
            try:
                yield source.read(index)
            except ImageError:
                continue

    for done, answer in enumerate(classifier.stream_logits(contents()), 1):
        if not isinstance(answer, PredictionError):
            best, _ = scores(answer[None], np.zeros(1, np.int64), temperature)
            found.append(float(best[0]))
        if progress:
            progress(done, total)
    if progress:
        progress(total, total)
    if not found:
        raise DataError(f"none of the {total} photos of {source.location} can be read")
    return np.array(found)


def store_scores(bundle: Bundle, fit: ScoreFit) -> Bundle:
    """Write the temperature and the threshold into the bundle, and return it opened anew; atomic.

    The files of the bundle and the order of its classes stay as they are. Where the right answers are too few
    for a threshold, a better temperature is written all the same, and an earlier threshold is removed: it
    means nothing at another temperature.

    Raises:
        DataError: there is neither a threshold nor a better temperature.
        BundleError: the bundle cannot be written to.
    """
    if not fit.tempered:
        check_determined(fit.unknown)
    return _store(bundle, {"temperature": fit.temperature, "unknown_below": fit.unknown.threshold})


def store_unknown(bundle: Bundle, fit: UnknownFit) -> Bundle:
    """Write the threshold into the bundle.

    Raises:
        DataError: there are too few right answers for one.
        BundleError: the bundle cannot be written to.
    """
    check_determined(fit)
    return _store(bundle, {"unknown_below": fit.threshold})


def remove_unknown(bundle: Bundle) -> Bundle:
    """Write into the bundle that no photo is unknown, as :func:`store_scores` does.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    return _store(bundle, {"unknown_below": 0.0})


def check_determined(fit: UnknownFit) -> None:
    """Refuse a fit on too few right answers.

    Raises:
        DataError: saying how many there are and how many it takes.
    """
    if not fit.determined:
        needed = floor(1 / fit.cost - 1e-9)
        raise DataError(
            f"{fit.right} right answers do not determine a threshold that costs at most {100 * fit.cost:g} % "
            f"of them; give at least {needed} photos that the model gets right, or allow a higher cost"
        )


def _store(bundle: Bundle, changes: Mapping[str, float]) -> Bundle:
    def revise(manifest: Manifest) -> Mapping[str, Any]:
        return {"postprocess": manifest.postprocess.model_copy(update=changes)}

    return revise_manifest(bundle, revise)
