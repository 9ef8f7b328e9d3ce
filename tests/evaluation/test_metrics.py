"""The figures: small cases by hand, and what must hold for any logits and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ghostclas.evaluation import metrics
from ghostclas.evaluation.metrics import (
    TEMPERATURES,
    calibrate,
    fit_temperature,
    label_ranks,
    percent,
    reliability,
    scores,
    summarize,
    topk_accuracy,
    wilson_interval,
)
from ghostclas.imaging import softmax, top_k


def logits_of(probabilities: Sequence[Sequence[float]]) -> np.ndarray:
    return np.log(np.array(probabilities, np.float64)).astype(np.float32)


anything = settings(deadline=None, max_examples=50)


@st.composite
def answers(draw: st.DrawFn, *, min_classes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits of few distinct values, so that ties are common, and labels."""
    count = draw(st.integers(1, 40))
    classes = draw(st.integers(min_classes, 9))
    tenths = draw(arrays(np.int8, (count, classes), elements=st.integers(-40, 40)))
    labels = draw(arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    return (tenths / 10).astype(np.float32), labels


# ------------------------------------------------------------------ by hand


def test_counts_of_a_small_case() -> None:
    # The answers are 0, 0, 1, 1, 1.
    logits = [
        [9, 1, 0, 0],
        [9, 1, 0, 0],
        [0, 9, 0, 0],
        [0, 9, 1, 0],
        [0, 9, 1, 0],
    ]
    result = summarize(
        np.array(logits, np.float32), np.array([0, 1, 1, 1, 2]), classes=("ant", "bee", "cat", "dog")
    )
    assert (result.images, result.correct_top1, result.top1) == (5, 3, 60.0)
    assert result.correct_top5 is None
    assert result.top5 is None
    assert result.confusion.dtype == np.int64
    assert result.confusion.tolist() == [[1, 0, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    ant, bee, cat, dog = result.per_class
    assert (ant.name, ant.support, ant.predicted, ant.correct) == ("ant", 1, 2, 1)
    assert (ant.precision, ant.recall, ant.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert (bee.precision, bee.recall, bee.f1) == (2 / 3, 2 / 3, pytest.approx(2 / 3))
    assert (cat.precision, cat.recall, cat.f1) == (None, 0.0, 0.0)
    assert (dog.precision, dog.recall, dog.f1) == (None, None, None)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert result.mean_recall == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_top5_counts_the_fifth_and_not_the_sixth() -> None:
    logits = np.array([[6, 5, 4, 3, 2, 1, 0]] * 3, np.float32)
    result = summarize(logits, np.array([0, 4, 5]))
    assert (result.correct_top1, result.correct_top5) == (1, 2)
    assert result.top5 == percent(2, 3) == 66.6667


def test_equal_logits_rank_by_class_index() -> None:
    logits = np.zeros((3, 3), np.float32)
    assert label_ranks(logits, np.array([0, 1, 2])).tolist() == [0, 1, 2]
    assert topk_accuracy(logits, np.array([0, 1, 2]), k=2) == 66.6667


def test_negative_log_likelihood_and_confidence_of_a_small_case() -> None:
    logits = logits_of([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2]])
    confidence, log_likelihood = scores(logits, np.array([0, 1]))
    np.testing.assert_allclose(confidence, [0.8, 0.5], rtol=1e-6)
    np.testing.assert_allclose(log_likelihood, np.log([0.8, 0.3]), rtol=1e-6)
    assert calibrate(logits, np.array([0, 1]), 1.0).nll == pytest.approx(-(math.log(0.8) + math.log(0.3)) / 2)


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    confidence, log_likelihood = scores(logits, np.array([1]), temperature=4.0)
    assert confidence[0] == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert log_likelihood[0] == pytest.approx(-math.log(1 + math.exp(0.5)))


def test_calibration_error_of_a_small_case() -> None:
    # Two images in (14/15, 1], one right: a gap of 0.45. Two in (8/15, 9/15], both right: again 0.45.
    bins, error = reliability(np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True]))
    assert error == pytest.approx(0.45)
    assert [i for i, b in enumerate(bins) if b.count] == [8, 14]
    assert (bins[14].count, bins[14].correct, bins[14].accuracy) == (2, 1, 0.5)
    assert bins[8].confidence == pytest.approx(0.55)
    assert (bins[0].confidence, bins[0].accuracy) == (None, None)
    assert (bins[0].lower, bins[14].upper) == (0.0, 1.0)


def test_gaps_weigh_as_many_images_as_they_have() -> None:
    _, error = reliability(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, True, True]), bins=2)
    assert error == pytest.approx((3 * 0.1 + 1 * 0.5) / 4)


def test_a_score_on_an_edge_belongs_to_the_interval_below_it() -> None:
    bins, _ = reliability(np.array([0.0, 0.25, 0.5, 1.0]), np.ones(4, bool), bins=4)
    assert [b.count for b in bins] == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (0, 10, 0.0, 27.7533),  # z^2 / (n + z^2)
        (10, 10, 72.2467, 100.0),
        (5, 10, 23.6593, 76.3407),  # the textbook value
        (1, 1, 20.6549, 100.0),
    ],
)
def test_wilson_interval(part: int, whole: int, low: float, high: float) -> None:
    assert wilson_interval(part, whole) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))


# ------------------------------------------------------------------ temperature


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 2.5, 15.0])
def test_temperature_undoes_a_scale(scale: float) -> None:
    # Three of four right at a score of 3/4: calibrated as it is, so a scaled copy needs its scale back.
    logits = np.array([[math.log(3), 0.0]] * 4) * scale
    assert fit_temperature(logits.astype(np.float32), np.array([0, 0, 0, 1])) == pytest.approx(
        scale, rel=1e-5
    )


def test_calibrated_scores_have_the_temperature_one_and_no_error() -> None:
    probabilities = [0.5, 0.3, 0.2]
    logits = logits_of([probabilities] * 10)
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    assert fit_temperature(logits, labels) == pytest.approx(1.0, rel=1e-5)
    assert calibrate(logits, labels, 1.0).ece == pytest.approx(0.0, abs=1e-6)


def test_temperature_of_large_random_answers() -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(scale=3, size=(4000, 10)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.05)


def test_data_that_determine_no_temperature_give_the_end_of_the_range() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]], np.float32)
    assert fit_temperature(logits, np.array([0, 1])) == TEMPERATURES[0]
    assert fit_temperature(logits, np.array([1, 0])) == TEMPERATURES[1]
    assert fit_temperature(np.zeros((2, 1), np.float32), np.array([0, 0])) == 1.0


@anything
@given(answers(min_classes=2), st.floats(*TEMPERATURES))
def test_no_temperature_is_better_than_the_fitted_one(
    case: tuple[np.ndarray, np.ndarray], other: float
) -> None:
    logits, labels = case
    best = calibrate(logits, labels, fit_temperature(logits, labels)).nll
    assert best <= calibrate(logits, labels, other).nll + 1e-7


# ------------------------------------------------------------------ for any answers


@anything
@given(answers())
def test_counts_agree_with_each_other(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    result = summarize(logits, labels)
    count = logits.shape[1]
    assert result.confusion.shape == (count, count)
    assert result.confusion.sum() == result.images == len(labels)
    assert result.confusion.trace() == result.correct_top1 == sum(c.correct for c in result.per_class)
    assert [c.support for c in result.per_class] == np.bincount(labels, minlength=count).tolist()
    best = top_k(logits, 5)
    assert result.correct_top1 == np.count_nonzero(best[:, 0] == labels)
    if result.correct_top5 is not None:
        assert result.correct_top5 == np.count_nonzero((best == labels[:, None]).any(axis=1))
        assert result.correct_top5 >= result.correct_top1
    low, high = wilson_interval(result.correct_top1, result.images)
    assert 0 <= low <= result.top1 <= high <= 100


@anything
@given(answers(), st.floats(*TEMPERATURES))
def test_calibration_stays_in_its_bounds(case: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    logits, labels = case
    result = calibrate(logits, labels, temperature)
    assert 0 <= result.ece <= 1
    assert result.nll >= 0
    assert sum(b.count for b in result.bins) == len(labels)
    for b in result.bins:
        if b.confidence is not None:
            assert b.lower - 1e-12 <= b.confidence <= b.upper + 1e-12


@anything
@given(answers(), st.floats(*TEMPERATURES))
def test_scores_are_those_of_deployment(case: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    logits, labels = case
    deployed = softmax(logits, temperature)
    confidence, log_likelihood = scores(logits, labels, temperature)
    np.testing.assert_allclose(confidence, deployed.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        np.exp(log_likelihood), deployed[np.arange(len(labels)), labels], rtol=1e-4, atol=1e-30
    )


@anything
@given(answers(min_classes=2))
def test_working_in_parts_changes_nothing(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    whole = summarize(logits, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_CHUNK_VALUES", 7)
        parts = summarize(logits, labels)
    assert (parts.correct_top1, parts.correct_top5) == (whole.correct_top1, whole.correct_top5)
    assert parts.calibration == whole.calibration
    assert parts.fitted.nll == pytest.approx(whole.fitted.nll, abs=1e-9)


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (np.zeros((2, 3)), [0], "got"),
        (np.zeros((0, 3)), [], "got"),
        (np.zeros(3), [0, 1, 2], "got"),
        (np.zeros((2, 3)), [0, 3], "0 to 3 for 3 classes"),
        (np.zeros((2, 3)), [-1, 0], "-1 to 0"),
        (np.array([[0, np.nan]]), [0], "not finite"),
        (np.array([[0, np.inf]]), [0], "not finite"),
    ],
)
def test_what_is_no_answer_is_refused(logits: np.ndarray, labels: list[int], reason: str) -> None:
    for function in (summarize, topk_accuracy):
        with pytest.raises(ValueError, match=reason):
            function(logits.astype(np.float32), np.array(labels, np.int64))
