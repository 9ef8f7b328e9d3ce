"""The value types that every room shares."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ghostclas.spec import (
    Label,
    ModelSpec,
    Prediction,
    PredictionError,
    ResizeSpec,
    first_problem,
    label_hash,
)


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


def test_a_resize_of_former_times_is_written_as_it_was() -> None:
    # Manifests hold it, and their digest is over its bytes.
    assert ResizeSpec().model_dump() == {"short_side": 256, "interpolation": "bilinear", "antialias": True}
    whole = ResizeSpec(short_side=80, antialias=False, library="opencv", size=(160, 80))
    assert ResizeSpec.model_validate(whole.model_dump(mode="json")) == whole
    assert whole.model_dump(mode="json")["size"] == [160, 80]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": (64, 64), "short_side": 64}, "needs a library"),
        ({"size": (64, 48), "short_side": 64, "library": "pillow"}, "its smaller side as short_side"),
        ({"library": "opencv"}, "opencv scales by bilinear with antialias false"),
        ({"library": "opencv", "antialias": False, "interpolation": "bicubic"}, "not by bicubic"),
        ({"library": "pillow", "antialias": False}, "pillow scales by bilinear or bicubic or lanczos"),
    ],
)
def test_a_library_scales_only_in_the_ways_that_it_has(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ResizeSpec(**fields)


def test_only_our_own_scaling_lets_the_decoder_shrink() -> None:
    assert ResizeSpec().shrinks_decoder
    for fields in ({"antialias": False}, {"interpolation": "nearest"}, {"library": "pillow"}):
        assert not ResizeSpec.model_validate(fields).shrinks_decoder


def test_the_first_problem_says_where_in_few_words() -> None:
    with pytest.raises(ValidationError) as caught:
        ModelSpec.model_validate({"name": 1, "n" * 5000: 2})
    assert first_problem(caught.value) == "name: Input should be a valid string (and 1 more)"
    with pytest.raises(ValidationError) as caught:
        ModelSpec.model_validate({"name": "ours", "n" * 5000: 2})
    assert first_problem(caught.value) == f"{'n' * 80}: Extra inputs are not permitted"


def test_a_prediction_shows_itself_in_a_notebook() -> None:
    labels = (Label(index=0, label="<cat>", score=0.7), Label(index=1, label="dog", score=0.3))
    page = Prediction(file="<a>.jpg", top=labels)._repr_html_()
    assert "<caption>&lt;a&gt;.jpg</caption>" in page
    assert page.index("&lt;cat&gt;") < page.index("70.00%") < page.index("dog")
    assert page.count("<progress") == 2
    assert "unknown" in Prediction(file=None, top=labels, unknown=True)._repr_html_()
    failed = Prediction(file=None, error=PredictionError(code="empty", message="<it> is empty"))
    assert failed._repr_html_() == "<table><tr><td>&lt;it&gt; is empty</td></tr></table>"
