"""The end of a run: its bundle is measured, its scores are calibrated, a report is written. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from ghostclas.bundle import Bundle, record_metric
from ghostclas.data.set_aside import describe_set_aside
from ghostclas.data.source import Source
from ghostclas.evaluation import (
    Evaluation,
    cross_recalibrate,
    dataset_name,
    evaluate,
    fit_unknown,
    store_temperature,
    store_unknown,
    write_report,
)
from ghostclas.evaluation.calibration import calibrate
from ghostclas.evaluation.metrics import wilson_interval
from ghostclas.evaluation.report import Learned
from ghostclas.evaluation.unseen import SET_ASIDE
from ghostclas.prediction import Classifier
from ghostclas.spec import Metric

CALIBRATION_IMAGES = 500
"""From this many images on, one half fits the temperature and the other measures it."""

LEAST_CALIBRATION_IMAGES = 50
"""A temperature from 20 clothing photos made the calibration error of others 13 %; without, it was 9 %."""

UNKNOWN_COST = 0.01
"""A threshold that no one asked for may turn this share of the right answers into unknown photos."""

FEW_IMAGES = 500
"""Below it, a person is told how far the measured accuracy can be from the true one."""

_USUAL_ACCURACY = 0.75


def measure_run(
    bundle: Bundle,
    val_source: Source,
    data: str | Path,
    report: Path,
    say: Callable[[str], None],
    *,
    learned: Learned | None = None,
) -> Metric:
    """Evaluate the finished bundle as it is deployed; record the accuracy, the temperature and the report.

    Args:
        bundle: the bundle of the run, in a folder.
        val_source: the validation images.
        data: the path of the data set, which names the accuracy.
        report: the folder of the report.
        say: prints a message for the user.
        learned: how the run learned, for the report.
    """
    with Classifier.load(bundle.path) as classifier:
        evaluation = calibrated(bundle, evaluate(classifier, val_source), say)
        evaluation = with_unknown(bundle, evaluation, say)
    metric = evaluation.metric(dataset_name(data, val_source))
    record_metric(bundle, metric)
    write_report(evaluation, report, learned=learned, bundle=bundle)
    return metric


def set_aside(val_source: Source, seed: int) -> dict[str, JsonValue]:
    """Return what the provenance of the bundle says of images that were set aside; nothing if none were."""
    record = describe_set_aside(val_source, seed)
    return {SET_ASIDE: record.model_dump(mode="json")} if record else {}


def calibrated(bundle: Bundle, evaluation: Evaluation, say: Callable[[str], None]) -> Evaluation:
    """Fit the temperature, and store it if it improves scores of images that it was not fitted on.

    From ``CALIBRATION_IMAGES`` on, it is fitted on one half and measured on the other. With fewer, it is
    fitted on all, and each half is measured at the temperature of the other. If that does not improve the
    likelihood, or with fewer than ``LEAST_CALIBRATION_IMAGES``, the bundle stays as it is. The accuracy stays
    the same.

    Returns:
        The evaluation at the temperature that the bundle has now.
    """
    if evaluation.images < LEAST_CALIBRATION_IMAGES:
        return evaluation
    few = evaluation.images < CALIBRATION_IMAGES
    fitted = (
        cross_recalibrate(evaluation.logits, evaluation.labels, evaluation.calibration.temperature)
        if few
        else evaluation.fitted
    )
    if not (fitted.determined and fitted.after.nll < fitted.before.nll):
        return evaluation
    store_temperature(bundle, fitted)
    where = (
        f"{fitted.held_out:,} images, each half at the temperature of the other"
        if few
        else f"{fitted.held_out:,} images that it was not fitted on"
    )
    say(
        f"temperature {fitted.temperature:.4g} stored: calibration error from {100 * fitted.before.ece:.2f} "
        f"to {100 * fitted.after.ece:.2f} % on {where}"
    )
    calibration = calibrate(evaluation.logits, evaluation.labels, fitted.temperature)
    return replace(evaluation, calibration=calibration)


def with_unknown(bundle: Bundle, evaluation: Evaluation, say: Callable[[str], None]) -> Evaluation:
    """Store the score below which a photo is unknown, if it costs at most ``UNKNOWN_COST`` of right answers.

    Where too few validation images are right to tell, no photo is unknown.

    Returns:
        The evaluation with the threshold that the bundle has now.
    """
    fit = fit_unknown(evaluation.confidence, evaluation.predicted == evaluation.labels, cost=UNKNOWN_COST)
    if not fit.determined:
        return evaluation
    store_unknown(bundle, fit)
    say(
        f"a photo is unknown below {fit.threshold:g}: so are {fit.right_unknown:,} of {fit.right:,} right "
        f"and {fit.wrong_unknown:,} of {fit.wrong:,} wrong answers"
    )
    return replace(evaluation, unknown_below=fit.threshold)


def few_images_note(images: int) -> str | None:
    """Say how uncertain an accuracy on so few validation images is, or ``None`` where it is not."""
    if images >= FEW_IMAGES:
        return None
    low, high = wilson_interval(round(_USUAL_ACCURACY * images), images)
    return (
        f"on {images} validation images, the accuracy is known to about {(high - low) / 2:.0f} points more "
        "or less; more photos in val/ tell it better"
    )
