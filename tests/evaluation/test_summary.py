"""All figures that follow from logits and labels."""

from __future__ import annotations

import numpy as np
import pytest

from ghostclas.evaluation.summary import summarize


def test_figures_of_a_small_case() -> None:
    logits = np.array([[2, 1, 0], [2, 1, 0], [0, 3, 1], [0, 1, 2]], np.float32)
    labels = np.array([0, 1, 1, 2])
    summary = summarize(logits, labels, classes=("ant", "bee", "cat"))
    assert (summary.images, summary.correct_top1, summary.top1) == (4, 3, 75.0)
    assert summary.top5 is None, "of three classes it would say nothing"
    assert [c.name for c in summary.per_class] == ["ant", "bee", "cat"]
    assert summary.mean_recall == pytest.approx((1 + 0.5 + 1) / 3)
    assert summary.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_classes_without_images_count_in_no_mean() -> None:
    logits = np.eye(7, dtype=np.float32)[[0, 0, 1]]
    summary = summarize(logits, np.array([0, 0, 1]))
    assert (summary.mean_recall, summary.macro_f1) == (1.0, 1.0)
    assert (summary.correct_top5, summary.top5) == (3, 100.0)


def test_temperature_changes_the_calibration_and_nothing_else() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(50, 6)).astype(np.float32), draw.integers(0, 6, 50)
    plain, cold = summarize(logits, labels), summarize(logits, labels, temperature=0.5)
    assert (plain.top1, plain.top5, plain.per_class) == (cold.top1, cold.top5, cold.per_class)
    assert plain.calibration.nll != cold.calibration.nll
