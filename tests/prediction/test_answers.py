"""Logits to predictions, without an engine."""

from __future__ import annotations

import numpy as np
import pytest

from ghostclas.errors import UsageError
from ghostclas.prediction.answers import to_predictions
from ghostclas.spec import PostprocessSpec

CLASSES = ("cat", "dog", "犬")
LOGITS = np.log(np.array([[0.2, 0.5, 0.3], [0.4, 0.35, 0.25]], np.float32))


def test_labels_come_best_first_with_their_softmax() -> None:
    first, second = to_predictions(LOGITS, CLASSES, PostprocessSpec(), top=2, files=["a.jpg", None])
    assert [(label.label, label.index) for label in first.top] == [("dog", 1), ("犬", 2)]
    assert [label.score for label in first.top] == pytest.approx([0.5, 0.3], abs=1e-6)
    assert (first.file, second.file) == ("a.jpg", None)
    assert second.top[0].label == "cat"


def test_temperature_and_threshold_are_applied() -> None:
    postprocess = PostprocessSpec(temperature=0.5, unknown_below=0.5)
    first, second = to_predictions(LOGITS, CLASSES, postprocess, top=1)
    assert first.top[0].score == pytest.approx(0.25 / (0.04 + 0.25 + 0.09), abs=1e-6)
    assert (first.unknown, second.unknown) == (False, True)


def test_more_labels_than_classes_are_all_classes() -> None:
    assert [len(p.top) for p in to_predictions(LOGITS, CLASSES, PostprocessSpec(), top=9)] == [3, 3]


def test_no_logits_are_no_predictions() -> None:
    assert to_predictions(LOGITS[:0], CLASSES, PostprocessSpec()) == []


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"logits are \[N, 3\] for these classes, got \[2, 2\]"):
        to_predictions(LOGITS[:, :2], CLASSES, PostprocessSpec())
    with pytest.raises(UsageError, match="2 rows of logits and 1 files"):
        to_predictions(LOGITS, CLASSES, PostprocessSpec(), files=["a"])
    with pytest.raises(UsageError, match="top must be at least 1, got 0"):
        to_predictions(LOGITS, CLASSES, PostprocessSpec(), top=0)
