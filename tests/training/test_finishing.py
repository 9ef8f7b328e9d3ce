"""A finished run stores the temperature that makes its scores honest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import Bundle
from ghostclas.data import open_source
from ghostclas.evaluation import Evaluation, evaluate, summarize
from ghostclas.prediction import Classifier
from ghostclas.training import finishing
from ghostclas.training.finishing import calibrated, few_images_note
from tests.training.photos import photos


@pytest.fixture
def evaluation(tiny_bundle: Bundle, tmp_path: Path) -> Evaluation:
    """The bundle on 60 photos, two of three labelled with its answers: right more often than it believes."""
    content = list(photos(classes=6, each=10, side=64).values())
    with Classifier.load(tiny_bundle.path) as classifier:
        for number, prediction in enumerate(classifier.predict(content, top=2)):
            label = prediction.top[number % 3 == 0].label
            folder = tmp_path / "photos" / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.png").write_bytes(content[number])
        return evaluate(classifier, open_source(tmp_path / "photos"))


def temperature(bundle: Bundle) -> float:
    return Bundle.open(bundle.path).postprocess.temperature


def some(evaluation: Evaluation, rows: slice) -> Evaluation:
    logits, labels = evaluation.logits[rows], evaluation.labels[rows]
    summary = summarize(logits, labels, classes=evaluation.classes)
    return replace(evaluation, **vars(summary), logits=logits, labels=labels)


def test_enough_images_store_a_temperature(
    evaluation: Evaluation, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "CALIBRATION_IMAGES", 60)
    said: list[str] = []
    after = calibrated(tiny_bundle, evaluation, said.append)
    stored = temperature(tiny_bundle)
    assert stored == evaluation.fitted.temperature != 1
    assert after.calibration.temperature == stored
    assert after.top1 == evaluation.top1
    assert after.fitted.after.nll < after.fitted.before.nll
    (line,) = said
    assert "on 30 images that it was not fitted on" in line


def test_few_images_store_the_temperature_of_all_of_them(evaluation: Evaluation, tiny_bundle: Bundle) -> None:
    said: list[str] = []
    after = calibrated(tiny_bundle, evaluation, said.append)
    stored = temperature(tiny_bundle)
    assert stored == after.calibration.temperature != 1
    assert after.calibration.nll < evaluation.calibration.nll
    (line,) = said
    assert "on 60 images, each half at the temperature of the other" in line


def test_a_temperature_that_does_not_help_images_it_does_not_know_is_not_stored(
    evaluation: Evaluation, tiny_bundle: Bundle
) -> None:
    few = some(evaluation, slice(0, finishing.LEAST_CALIBRATION_IMAGES - 1))
    assert calibrated(tiny_bundle, few, pytest.fail) is few
    # Every image right: the best temperature is the edge of the range.
    sure = summarize(evaluation.logits, evaluation.logits.argmax(axis=1), classes=evaluation.classes)
    sure_evaluation = replace(evaluation, **vars(sure), labels=np.asarray(evaluation.logits.argmax(axis=1)))
    assert calibrated(tiny_bundle, sure_evaluation, pytest.fail) is sure_evaluation
    assert temperature(tiny_bundle) == 1


def test_few_validation_images_are_told_how_little_they_tell() -> None:
    assert "on 60 validation images, the accuracy is known to about 11 points" in (few_images_note(60) or "")
    assert few_images_note(500) is None
