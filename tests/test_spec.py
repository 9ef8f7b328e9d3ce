"""The value types that every room shares."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ghostclas.spec import Label, ModelSpec, Prediction, PredictionError, label_hash


def test_the_hash_of_labels_depends_on_names_order_and_borders() -> None:
    lists = [("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""), ("é", "b"), ("a",)]
    assert len({label_hash(classes) for classes in lists}) == len(lists)
    # It is stored in bundles: another value would make every one of them unreadable.
    assert label_hash(("cat", "dog")) == "a5bc326e89cbe03e"


def test_a_prediction_answers_with_its_best_label_or_with_nothing() -> None:
    best, second = (Label(index=i, label=name, score=s) for i, name, s in ((1, "cat", 0.7), (0, "dog", 0.3)))
    answered = Prediction(file="a.jpg", top=(best, second))
    assert (answered.label, answered.score) == ("cat", 0.7)
    failed = Prediction(file="b.jpg", error=PredictionError(code="empty", message="no bytes"))
    assert (failed.label, failed.score) == (None, None)


def test_a_spec_is_frozen_and_knows_its_fields() -> None:
    spec = ModelSpec(name="ours")
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "theirs"
    with pytest.raises(ValidationError, match="widht"):
        ModelSpec.model_validate({"name": "ours", "widht": 1})
