"""Paddle Serving's HTTP forms, as its clients and PaddleClas' send them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from tests.serve.brpc.client import Reply, picture
from tests.serve.hosting import scores_of
from tests.serve.http.servers import HttpServer, http_server
from tests.serve.http.uploads import JSON, text
from tests.serve.served import jpeg

PROTO = {"Content-Type": "application/proto"}
PATH = "/GeneralModelService/inference"


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(body_bytes=200_000) as running:
        yield running


@pytest.fixture(autouse=True)
def another_client(server: HttpServer) -> Iterator[None]:
    yield
    server.assert_answers()


def test_a_message_is_answered_by_a_message(server: HttpServer) -> None:
    reply = server.request("POST", PATH, picture(jpeg(1)), PROTO)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/proto")
    outputs = Reply(0, "", 0, reply.body, {}).outputs
    np.testing.assert_allclose(outputs["prediction"], scores_of(jpeg(1)), atol=1e-5)


def test_json_is_answered_by_json(server: HttpServer) -> None:
    tensor = {"elem_type": 20, "shape": [1], "data": [text(jpeg(2))], "name": "x", "alias_name": "inputs"}
    request = {"tensor": [tensor], "fetch_var_names": ["prediction"], "log_id": 5}
    answer = server.post_json(PATH, request).json
    (found,) = answer["outputs"][0]["tensor"]
    np.testing.assert_allclose([found["float_data"]], scores_of(jpeg(2)), atol=1e-5)
    record = server.wait_for_record(f"POST {PATH}")
    assert (record.status, record.images, record.model) == ("200", 1, "default")


def test_the_pipeline_answers_what_paddleclas_clients_send(server: HttpServer) -> None:
    # They post JSON without saying so.
    body = json.dumps({"key": ["image"], "value": [text(jpeg(3))]}).encode()
    answer = server.request("POST", "/imagenet/prediction", body).json
    best = server.service.model().classes[int(scores_of(jpeg(3)).argmax())]
    assert (answer["err_no"], answer["value"][0]) == (0, repr([best]))


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (PATH, b"\xff\xff", PROTO, 400),
        (PATH, picture(b"no image"), PROTO, 400),
        (PATH, picture(jpeg(1))[:-200], PROTO, 400),
        (PATH, b"{}", JSON, 400),
        (PATH, b"[" * 100_000, JSON, 400),
        (PATH, b"x", {"Content-Type": "image/jpeg"}, 415),
        (PATH, bytes(200_001), PROTO, 413),
        ("/imagenet/prediction", b"{}", JSON, 400),
        ("/imagenet/prediction", b"[]", JSON, 400),
        ("/nothing/prediction", json.dumps({"key": ["image"], "value": [text(jpeg())]}).encode(), JSON, 404),
    ],
)
def test_a_bad_request_has_its_status_and_an_error(
    server: HttpServer, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    reply = server.request("POST", path, body, headers)
    assert (reply.status, bool(reply.error)) == (status, True), reply.body


def test_only_post_is_taken(server: HttpServer) -> None:
    assert server.get(PATH).status == 405
    assert server.get("/imagenet/prediction").headers["allow"] == "POST"
