"""The threshold of unknown photos: cases by hand, its promise for new photos, and what it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ghostclas
from ghostclas.bundle import Bundle
from ghostclas.data import open_source
from ghostclas.data.pool import open_pool
from ghostclas.errors import DataError, UsageError
from ghostclas.evaluation import (
    evaluate,
    fit_scores,
    fit_unknown,
    remove_unknown,
    store_scores,
    store_temperature,
)
from ghostclas.prediction import Classifier
from tests.colours import colour_bundle, colour_folder, colour_photo

HUNDREDTHS = np.arange(1, 101) / 100
ALL = np.ones(100, bool)


# ------------------------------------------------------------------ by hand


def test_the_threshold_is_the_score_that_the_cost_allows() -> None:
    # Of 100 right answers, number floor(0.05 * 101) = 5 has the score 0.05; four lie below it.
    fit = fit_unknown(HUNDREDTHS, ALL, cost=0.05)
    assert (fit.threshold, fit.right_unknown, fit.right) == (0.05, 4, 100)


def test_wrong_answers_and_others_do_not_count_as_its_cost() -> None:
    confidence = np.concatenate([HUNDREDTHS, [0.01, 0.9]])
    correct = np.concatenate([ALL, [False, False]])
    fit = fit_unknown(confidence, correct, np.array([0.02, 0.03, 0.99]), cost=0.05)
    assert (fit.threshold, fit.right_unknown) == (0.04, 3)
    assert (fit.wrong_unknown, fit.wrong) == (1, 2)
    assert (fit.others_unknown, fit.others) == (2, 3)


def test_others_lower_a_threshold_that_gains_nothing() -> None:
    # All three lie below 0.04, so that 0.05 would cost one more right answer for none of them.
    fit = fit_unknown(HUNDREDTHS, ALL, np.array([0.01, 0.02, 0.035]), cost=0.05)
    assert (fit.threshold, fit.others_unknown, fit.right_unknown) == (0.04, 3, 3)


@pytest.mark.parametrize(("cost", "enough"), [(0.05, 19), (0.01, 99), (0.03, 33)])
def test_too_few_right_answers_determine_nothing(cost: float, enough: int) -> None:
    assert not fit_unknown(np.full(enough - 1, 0.5), np.ones(enough - 1, bool), cost=cost).determined
    assert fit_unknown(np.full(enough, 0.5), np.ones(enough, bool), cost=cost).determined


@pytest.mark.parametrize("cost", [0, 1, -0.1, float("nan")])
def test_a_cost_is_a_share(cost: float) -> None:
    with pytest.raises(UsageError, match="share between 0 and 1"):
        fit_unknown(HUNDREDTHS, ALL, cost=cost)


@pytest.mark.parametrize("cost", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("count", [19, 120, 500])
def test_new_right_answers_keep_the_cost_on_average(count: int, cost: float) -> None:
    rng = np.random.default_rng(count)
    lost = []
    for _ in range(1000):
        seen, new = rng.beta(4, 1, count), rng.beta(4, 1, 200)
        lost.append((new < fit_unknown(seen, np.ones(count, bool), cost=cost).threshold).mean())
    assert np.mean(lost) < cost + 3 * np.std(lost) / np.sqrt(len(lost))
    # And it does not give away what it may use: one part of count + 1 at most.
    if cost * (count + 1) >= 1:
        assert np.mean(lost) > cost - 1 / (count + 1) - 3 * np.std(lost) / np.sqrt(len(lost))


# ------------------------------------------------------------------ on bundles


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return colour_bundle(tmp_path / "colours", sharpness=1.0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of which the darker ones get lower scores: 30 a class, and three that are wrong."""
    root = tmp_path / "photos"
    for name in ("red", "green", "blue"):
        for number in range(30):
            colour_photo(root / name / f"{number}.png", name, strength=255 - 2 * number)
    for number in range(3):
        colour_photo(root / "red" / f"wrong{number}.png", "green", strength=230)
    return root


@pytest.fixture
def others(tmp_path: Path) -> Path:
    root = tmp_path / "others"
    for number, colour in enumerate(("cyan", "magenta", "yellow")):
        colour_photo(root / f"{number}.png", colour)
    (root / "broken.png").write_bytes(b"no image")
    return root


def test_what_is_stored_is_what_predictions_and_evaluations_say(
    bundle: Bundle, photos: Path, others: Path
) -> None:
    with Classifier.load(bundle, threads=1) as classifier:
        fit = fit_scores(classifier, open_source(photos), open_pool(others))
    assert (fit.unknown.others, fit.unknown.others_unknown, fit.others_bad) == (3, 3, 1)
    assert fit.unknown.right == 90
    before = {entry.path: entry for entry in bundle.manifest.files}
    stored = store_scores(bundle, fit)
    assert stored.postprocess.unknown_below == fit.unknown.threshold > 0
    assert stored.postprocess.temperature == fit.temperature
    assert {entry.path: entry for entry in stored.manifest.files} == before
    stored.check()
    with Classifier.load(Bundle.open(bundle.path), threads=1) as classifier:
        evaluation = evaluate(classifier, open_source(photos))
        answers = classifier.predict([*sorted(photos.rglob("*.png")), *sorted(others.glob("?.png"))])
    lost = fit.unknown.right_unknown
    assert (evaluation.unknown_right, int(evaluation.unknown.sum())) == (
        lost,
        lost + fit.unknown.wrong_unknown,
    )
    assert evaluation.as_dict()["unknown"]["right"] == lost
    assert sum(answer.unknown for answer in answers) == int(evaluation.unknown.sum()) + 3


def test_another_temperature_removes_the_threshold_and_the_same_one_keeps_it(
    bundle: Bundle, photos: Path
) -> None:
    with Classifier.load(bundle, threads=1) as classifier:
        fit = fit_scores(classifier, open_source(photos))
    stored = store_scores(bundle, fit)
    assert fit.temperature == fit.evaluation.fitted.temperature != 1
    assert store_temperature(stored, fit.evaluation.fitted).postprocess == stored.postprocess
    assert remove_unknown(stored).postprocess.unknown_below == 0
    stored = store_scores(bundle, fit)
    # In both halves, one of four is wrong.
    colours = ["red", "red", "green", "green", "red", "red", "red", "red"]
    with Classifier.load(bundle, threads=1) as classifier:
        other = evaluate(classifier, open_source(colour_folder(photos.parent / "few", {"red": colours})))
    assert other.fitted.temperature != fit.temperature
    assert store_temperature(stored, other.fitted).postprocess.unknown_below == 0


def test_too_few_photos_store_nothing(bundle: Bundle, tmp_path: Path) -> None:
    few = colour_folder(tmp_path / "few", {"red": ["red"] * 3, "green": ["green"] * 3})
    manifest = (bundle.path / "manifest.json").read_bytes()
    with pytest.raises(DataError, match=r"6 right answers do not determine .* give at least 19 photos"):
        ghostclas.calibrate(bundle, few)
    assert (bundle.path / "manifest.json").read_bytes() == manifest


def test_others_that_cannot_be_read_are_refused(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "one.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 1 photos"):
        ghostclas.calibrate(bundle, photos, tmp_path / "bad", store=False)
