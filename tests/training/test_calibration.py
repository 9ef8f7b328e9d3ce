"""A finished run stores the temperature that makes its scores honest."""

from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.data import open_source
from ghostclas.evaluation import Evaluation, evaluate
from ghostclas.prediction import Classifier
from ghostclas.training import run
from ghostclas.training.run import calibrated
from tests.training.photos import photos


@pytest.fixture
def evaluation(tiny_bundle: Bundle, tmp_path: Path) -> Evaluation:
    """The bundle on 36 photos, two of three labelled with its answers: right more often than it believes."""
    content = list(photos(classes=6, each=6, side=64).values())
    with Classifier.load(tiny_bundle.path) as classifier:
        for number, prediction in enumerate(classifier.predict(content, top=2)):
            label = prediction.top[number % 3 == 0].label
            folder = tmp_path / "photos" / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.png").write_bytes(content[number])
        return evaluate(classifier, open_source(tmp_path / "photos"))


def test_enough_images_store_a_temperature(
    evaluation: Evaluation, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CALIBRATION_IMAGES", 36)
    said: list[str] = []
    after = calibrated(tiny_bundle, evaluation, said.append)
    stored = Bundle.open(tiny_bundle.path).postprocess.temperature
    assert stored == evaluation.fitted.temperature != 1
    assert after.calibration.temperature == stored
    assert after.top1 == evaluation.top1
    assert after.fitted.after.nll < after.fitted.before.nll
    (line,) = said
    assert "on 18 images that it was not fitted on" in line


def test_few_images_store_none(evaluation: Evaluation, tiny_bundle: Bundle) -> None:
    assert run.CALIBRATION_IMAGES == 500
    assert calibrated(tiny_bundle, evaluation, pytest.fail) is evaluation
    assert Bundle.open(tiny_bundle.path).postprocess.temperature == 1
