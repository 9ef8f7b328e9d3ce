"""Calibration: small cases computed by hand, halves, and properties for any logits and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.evaluation.calibration import (
    TEMPERATURES,
    calibrate,
    fit_temperature,
    halve,
    recalibrate,
    reliability,
    scores,
)
from ghostclas.imaging import softmax
from tests.evaluation.answers import answers, anything


def logits_of(probabilities: Sequence[Sequence[float]]) -> np.ndarray:
    return np.log(np.array(probabilities, np.float64)).astype(np.float32)


# ------------------------------------------------------------------ by hand


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


# ------------------------------------------------------------------ halves


@anything
@given(answers())
def test_halves_split_every_class_in_two(case: tuple[np.ndarray, np.ndarray]) -> None:
    _, labels = case
    fitted, held_out = halve(labels)
    if len(labels) > 1:
        assert sorted([*fitted, *held_out]) == list(range(len(labels)))
    for label in np.unique(labels):
        assert abs(np.sum(labels[fitted] == label) - np.sum(labels[held_out] == label)) <= 1
    again = halve(labels)
    assert all(np.array_equal(one, other) for one, other in zip((fitted, held_out), again, strict=True))


def test_a_temperature_is_measured_on_images_that_it_was_not_fitted_on() -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(scale=3, size=(4000, 10)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    fit = recalibrate(3 * logits, labels, temperature=2.0)
    fitted, held_out = halve(labels)
    assert (fit.fitted_on, fit.held_out) == (len(fitted), len(held_out)) == (2000, 2000)
    assert fit.temperature == fit_temperature(3 * logits[fitted], labels[fitted])
    assert fit.before == calibrate(3 * logits[held_out], labels[held_out], 2.0)
    assert fit.after == calibrate(3 * logits[held_out], labels[held_out], fit.temperature)
    assert fit.after.ece < 0.03 < fit.before.ece


def test_one_image_determines_no_temperature() -> None:
    fit = recalibrate(np.array([[2.0, 0.0]], np.float32), np.array([0]))
    assert not fit.determined
    assert (fit.fitted_on, fit.held_out) == (1, 1)


# ------------------------------------------------------------------ for any answers


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
