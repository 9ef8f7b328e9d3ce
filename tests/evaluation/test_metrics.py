"""Metrics: small cases computed by hand, and properties for any logits and labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from ghostclas.evaluation import metrics
from ghostclas.evaluation.metrics import label_ranks, percent, topk_accuracy, wilson_interval
from ghostclas.evaluation.summary import summarize
from ghostclas.imaging import top_k
from tests.evaluation.answers import answers, anything

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
    assert result.confusion.dense().dtype == np.int64
    assert result.confusion.dense().tolist() == [[1, 0, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    ant, bee, cat, dog = result.per_class
    assert (ant.name, ant.support, ant.predicted, ant.correct) == ("ant", 1, 2, 1)
    assert (ant.precision, ant.recall) == (0.5, 1.0)
    assert (bee.precision, bee.recall) == (2 / 3, 2 / 3)
    assert ant.f1 == bee.f1 == pytest.approx(2 / 3)
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
    assert list(wilson_interval(part, whole)) == pytest.approx([low, high], abs=2e-4)


# ------------------------------------------------------------------ for any answers


@anything
@given(answers())
def test_counts_agree_with_each_other(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    result = summarize(logits, labels)
    count = logits.shape[1]
    confusion = result.confusion.dense()
    assert confusion.shape == (count, count)
    assert confusion.sum() == result.images == len(labels)
    assert confusion.trace() == result.correct_top1 == sum(c.correct for c in result.per_class)
    assert [c.support for c in result.per_class] == np.bincount(labels, minlength=count).tolist()
    best = top_k(logits, 5)
    assert result.correct_top1 == np.count_nonzero(best[:, 0] == labels)
    if result.correct_top5 is not None:
        assert result.correct_top5 == np.count_nonzero((best == labels[:, None]).any(axis=1))
        assert result.correct_top5 >= result.correct_top1
    low, high = wilson_interval(result.correct_top1, result.images)
    assert 0 <= low <= result.top1 <= high <= 100


@anything
@given(answers(min_classes=2))
def test_working_in_parts_changes_nothing(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    whole = summarize(logits, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "CHUNK_VALUES", 7)
        parts = summarize(logits, labels)
    assert (parts.correct_top1, parts.correct_top5) == (whole.correct_top1, whole.correct_top5)
    assert parts.calibration == whole.calibration
    assert parts.fitted.after.nll == pytest.approx(whole.fitted.after.nll, abs=1e-9)


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
