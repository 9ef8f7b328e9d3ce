"""Paddle Serving's services over gRPC."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest

from ghostclas.serve.grpc.server import start
from ghostclas.serve.paddle import general_model, pipeline
from tests.serve.brpc.client import SERVICE, Reply, decode, field, picture
from tests.serve.grpc.stub import Stub
from tests.serve.hosting import HostedProtocol, hosted, scores_of
from tests.serve.served import builtin_bundle, jpeg, serving


@pytest.fixture(scope="module")
def server() -> Iterator[HostedProtocol]:
    with serving() as service, hosted(start, service) as host:
        yield host


@pytest.fixture(scope="module")
def stub(server: HostedProtocol) -> Iterator[Stub]:
    with Stub(server.port) as stub:
        yield stub


def pairs(*texts: bytes, name: str = "") -> bytes:
    """A request of PaddleClas' ``PipelineClient``."""
    keys = [field(1, f"image_{number}") for number in range(len(texts))]
    return b"".join([*keys, *(field(2, text) for text in texts), field(4, name)])


def best(image: bytes) -> tuple[str, float]:
    scores = scores_of(image)[0]
    return builtin_bundle().classes[int(scores.argmax())], float(scores.max())


def test_the_general_model_answers_as_over_brpc(stub: Stub) -> None:
    assert SERVICE == general_model.SERVICE
    message = stub.raw(f"{SERVICE}/inference", picture(jpeg(0)))
    outputs = Reply(0, "", 0, message, {}).outputs
    np.testing.assert_allclose(outputs["prediction"], scores_of(jpeg(0)), atol=1e-5)


def test_the_general_model_refuses_by_a_status(stub: Stub) -> None:
    status, message = stub.refused(lambda: stub.raw(f"{SERVICE}/inference", picture(b"no image")))
    assert status == "INVALID_ARGUMENT"
    assert message.startswith("image 0 of 1")
    assert stub.refused(lambda: stub.raw(f"{SERVICE}/inference", b"\xff"))[0] == "INVALID_ARGUMENT"
    assert stub.raw(f"{SERVICE}/inference", picture(jpeg(0)))


def test_the_pipeline_gives_labels_and_probabilities(stub: Stub, server: HostedProtocol) -> None:
    request = pairs(base64.b64encode(jpeg(0)), base64.b64encode(jpeg(1)))
    answer = decode(stub.raw(f"{pipeline.SERVICE}/inference", request))
    assert answer[3] == [b"label", b"prob"]
    labels, scores = (eval(bytes(text)) for text in answer[4])
    assert labels == [best(jpeg(0))[0], best(jpeg(1))[0]]
    assert scores == pytest.approx([best(jpeg(0))[1], best(jpeg(1))[1]], abs=1e-5)
    assert 1 not in answer


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        (b"\xff", 5000),
        (pairs(), 5000),
        (pairs(b"not base64!"), 5000),
        (pairs(base64.b64encode(b"no image")), 5000),
        (pairs(b"") + field(1, "one key more"), 5000),
        (pairs(base64.b64encode(jpeg(0)), name="none"), 3002),
        (pairs() + field(3, field(9, "a tensor")), 3000),
    ],
)
def test_the_pipeline_refuses_by_its_own_number(
    stub: Stub, server: HostedProtocol, request_: bytes, number: int
) -> None:
    server.records.clear()
    answer = decode(stub.raw(f"{pipeline.SERVICE}/inference", request_))
    assert answer[1] == [number]
    assert answer[2][0]
    assert 4 not in answer
    server.await_records(bool)
    assert server.records[0].status == "OK"
    assert server.records[0].kind
    assert 1 not in decode(stub.raw(f"{pipeline.SERVICE}/inference", pairs(base64.b64encode(jpeg(0)))))
