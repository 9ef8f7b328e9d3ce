"""Paddle Serving's HTTP forms, without HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import numpy as np
import pytest

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.paddle.rest import general_model_inference, pipeline_prediction
from ghostclas.serve.service import Service
from tests.serve.brpc.client import Reply, picture
from tests.serve.hosting import scores_of
from tests.serve.served import jpeg, serving

TEXT = base64.b64encode(jpeg(0)).decode()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


def test_a_message_is_answered_by_a_message(service: Service) -> None:
    reply = asyncio.run(general_model_inference(service, picture(jpeg(0))))
    assert isinstance(reply.content, bytes)
    outputs = Reply(0, "", 0, reply.content, {}).outputs
    np.testing.assert_allclose(outputs["prediction"], scores_of(jpeg(0)), atol=1e-5)


def test_json_is_answered_by_json(service: Service) -> None:
    tensor = {"elem_type": 20, "shape": [1], "data": [TEXT], "name": "x", "alias_name": "inputs"}
    document = {"tensor": [tensor], "fetch_var_names": ["prediction", "logits"], "log_id": 5}
    reply = asyncio.run(general_model_inference(service, document))
    assert isinstance(reply.content, dict)
    (output,) = reply.content["outputs"]
    scores, logits = output["tensor"]
    assert (scores["alias_name"], logits["alias_name"]) == ("prediction", "logits")
    assert scores["shape"] == [1, len(service.model().classes)]
    np.testing.assert_allclose([scores["float_data"]], scores_of(jpeg(0)), atol=1e-5)
    assert reply.content["log_id"] == 5
    assert reply.answer is not None


def test_a_bad_request_raises_as_everywhere(service: Service) -> None:
    with pytest.raises(ServeError) as caught:
        asyncio.run(general_model_inference(service, {"tensor": []}))
    assert caught.value.kind is Kind.INVALID


def test_the_pipeline(service: Service) -> None:
    reply = asyncio.run(pipeline_prediction(service, "imagenet", {"key": ["image"], "value": [TEXT]}))
    assert reply.failure is None
    assert isinstance(reply.content, dict)
    assert reply.content["err_no"] == 0
    best = service.model().classes[int(scores_of(jpeg(0)).argmax())]
    assert reply.content["value"][0] == repr([best])


def test_the_pipeline_tells_its_failure_twice(service: Service) -> None:
    reply = asyncio.run(pipeline_prediction(service, "none", {"key": ["image"], "value": [TEXT]}))
    assert isinstance(reply.content, dict)
    assert reply.content["err_no"] == 3002
    assert reply.content["error"] == reply.content["err_msg"] != ""
    assert reply.failure is not None
    assert reply.failure.kind is Kind.NOT_FOUND
