"""The pipeline of PaddleClas' clients, without a transport."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.paddle import pictures, pipeline
from ghostclas.serve.paddle.pipeline import (
    ERROR_NUMBERS,
    Labels,
    Pairs,
    infer,
    read_json,
    read_message,
    to_json,
)
from ghostclas.serve.service import Service
from tests.serve.brpc.client import decode, field
from tests.serve.hosting import scores_of
from tests.serve.served import builtin_model, jpeg, serving

TEXTS = [base64.b64encode(jpeg(seed)).decode() for seed in (0, 1)]


def asking(service: Service) -> pictures.Ask:
    return pictures.asking(service, deadline=None, request_id="", trace="")


def test_every_kind_of_failure_has_a_number() -> None:
    assert ERROR_NUMBERS.keys() == set(Kind)
    assert 0 not in ERROR_NUMBERS.values()


def test_labels_and_probabilities() -> None:
    with serving() as service:
        labels = asyncio.run(infer(service, Pairs(["image", "b"], TEXTS), asking(service)))
        assert labels.answer is not None
        assert labels.answer.model is service.model()
        classes = service.model().classes
    expected = scores_of(jpeg(0), jpeg(1))
    assert list(labels.labels) == [classes[row.argmax()] for row in expected]
    assert list(labels.scores) == pytest.approx([float(row.max()) for row in expected], abs=1e-5)


def test_the_name_is_paddleclas_or_a_models() -> None:
    with serving(builtin_model(), builtin_model("second")) as service:
        for name, model in (("", "default"), ("imagenet", "default"), ("second", "second")):
            labels = asyncio.run(infer(service, Pairs(["i"], TEXTS[:1], name), asking(service)))
            assert labels.answer is not None
            assert labels.answer.model.name == model
        with pytest.raises(ServeError) as caught:
            asyncio.run(infer(service, Pairs(["i"], TEXTS[:1], "third"), asking(service)))
    assert caught.value.kind is Kind.NOT_FOUND


def test_the_key_that_asks_for_timings_is_no_picture() -> None:
    with serving() as service:
        labels = asyncio.run(
            infer(service, Pairs(["image", "pipeline.profile"], [TEXTS[0], "1"]), asking(service))
        )
    assert len(labels.labels) == 1


def test_clients_evaluate_the_lists_whatever_a_class_is_called() -> None:
    names = ["tabby, tabby cat", "it's", 'a "b"', "小狗", "[1]", "\\", "\n"]
    pairs = Labels(names, [0.5] * len(names)).pairs()
    assert eval(pairs["label"]) == names
    assert eval(pairs["prob"]) == [0.5] * len(names)


def test_the_answer_as_a_message_and_as_json() -> None:
    message = decode(pipeline.write_message(Labels(["a"], [0.5])))
    assert message == {3: [b"label", b"prob"], 4: [b"['a']", b"[0.5]"]}
    assert to_json(Labels(["a"], [0.5])) == {
        "err_no": 0,
        "err_msg": "",
        "key": ["label", "prob"],
        "value": ["['a']", "[0.5]"],
        "tensors": [],
    }
    failed = Labels(error=ServeError(Kind.LATE, "too late"))
    assert decode(pipeline.write_message(failed)) == {1: [6000], 2: [b"too late"]}
    assert to_json(failed)["err_no"] == 6000


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({}, Kind.INVALID),
        ({"key": ["image"]}, Kind.INVALID),
        ({"key": "image", "value": ["x"]}, Kind.INVALID),
        ({"key": [1], "value": ["x"]}, Kind.INVALID),
        ({"key": ["image"], "value": [["x"]]}, Kind.INVALID),
        ({"key": [], "value": [], "tensors": [{}]}, Kind.UNSUPPORTED),
    ],
)
def test_json_that_is_no_request(document: dict[str, Any], kind: Kind) -> None:
    with pytest.raises(ServeError) as caught:
        read_json(document, "imagenet")
    assert caught.value.kind is kind


@given(st.binary(max_size=100))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    with contextlib.suppress(ServeError):
        read_message(data)


def test_a_message() -> None:
    data = field(1, "image") + field(2, "text") + field(4, "imagenet") + field(6, 7)
    assert read_message(data) == Pairs(["image"], ["text"], "imagenet")
