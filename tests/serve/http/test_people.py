"""``POST /predict``: photos in every form, and the same prediction objects out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ghostclas.prediction import Classifier
from tests.serve.http.servers import HttpServer, assert_right, http_server
from tests.serve.http.uploads import BAD_IMAGES, JSON, multipart, text
from tests.serve.served import Shared, builtin_bundle, builtin_engine, builtin_model, jpeg


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(builtin_model("one"), builtin_model("two"), parts=4, request_images=4) as running:
        yield running


@pytest.fixture(autouse=True)
def another_client(server: HttpServer) -> Iterator[None]:
    yield
    server.assert_answers()


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", "image/wrong"]
)
def test_a_photo_as_the_body_is_one_prediction(server: HttpServer, kind: str) -> None:
    reply = server.request("POST", "/predict", jpeg(), {"Content-Type": kind})
    assert reply.status == 200
    assert set(reply.json) == {"file", "top", "unknown", "error"}
    assert reply.json["file"] is None
    assert len(reply.json["top"]) == 5
    assert_right(reply.json)
    assert reply.headers["ghostclas-model"] == "one"
    assert reply.headers["ghostclas-version"] == server.service.model("one").version
    assert float(reply.headers["server-timing"].removeprefix("total;dur=")) > 0


def test_a_photo_without_a_type_is_taken(server: HttpServer) -> None:
    assert_right(server.request("POST", "/predict", jpeg()).json)


def test_an_upload_is_a_list_in_order_with_bad_photos_in_their_places(server: HttpServer) -> None:
    reply = server.request("POST", "/predict", *multipart(jpeg(1), b"no image", jpeg(2)))
    first, bad, last = reply.json["predictions"]
    assert_right(first, 1)
    assert_right(last, 2)
    assert (bad["top"], bad["error"]["code"]) == ([], "not_an_image")
    assert "passwd" not in reply.body.decode()


def test_an_upload_of_one_photo_is_a_list_too(server: HttpServer) -> None:
    (only,) = server.request("POST", "/predict", *multipart(jpeg(3))).json["predictions"]
    assert_right(only, 3)


def test_json_holds_one_photo_or_several(server: HttpServer) -> None:
    assert_right(server.post_json("/predict", {"image": text(jpeg(1))}).json, 1)
    uri = "data:image/jpeg;base64," + text(jpeg(2))
    both = server.post_json("/predict?top=2&model=two", {"images": [uri, text(jpeg(1))]})
    second, first = both.json["predictions"]
    assert_right(second, 2)
    assert_right(first, 1)
    assert len(first["top"]) == 2
    assert both.headers["ghostclas-model"] == "two"


@pytest.mark.parametrize(("top", "labels"), [("1", 1), ("7", 7), ("100000", 200)])
def test_top_says_how_many_labels(server: HttpServer, top: str, labels: int) -> None:
    assert len(server.predict(jpeg(), f"?top={top}").json["top"]) == labels


def test_model_says_which(server: HttpServer) -> None:
    assert server.predict(jpeg(), "?model=two").headers["ghostclas-model"] == "two"
    missing = server.predict(jpeg(), "?model=tow")
    assert (missing.status, "did you mean 'two'" in missing.error) == (404, True)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_photo_is_a_prediction_with_an_error(server: HttpServer, name: str) -> None:
    bad = BAD_IMAGES[name]
    reply = server.request("POST", "/predict", *multipart(bad.data, jpeg()))
    assert reply.status == 200
    answered, good = reply.json["predictions"]
    assert answered["error"]["code"] == bad.code
    assert_right(good)


def test_a_bad_photo_alone_is_answered_as_the_command_line_does(server: HttpServer) -> None:
    (expected,) = Classifier(builtin_bundle(), Shared(builtin_engine())).predict([b"no image"])
    assert server.predict(b"no image").json == expected.model_dump(mode="json")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?top=0", "top"),
        ("?top=-1", "top"),
        ("?top=1.5", "top"),
        ("?top=%EF%BC%95", "top"),
        ("?top=100001", "top"),
        ("?top=", "top"),
        ("?top=1&top=2", "twice"),
        ("?topp=1", "did you mean 'top'"),
        ("?timeout=0", "timeout"),
        ("?timeout=nan", "timeout"),
        ("?timeout=-1", "timeout"),
        ("?timeout=1000001", "timeout"),
        ("?timeout=1e999", "timeout"),
        ("?top", "query"),
        ("?top=1&" + "&".join(f"a{n}=1" for n in range(20)), "query"),
        ("?model=%FF", "query"),
    ],
)
def test_a_wrong_query_is_refused(server: HttpServer, query: str, words: str) -> None:
    reply = server.predict(jpeg(), query)
    assert (reply.status, words in reply.error) == (400, True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "'image'"),
        ({"image": "", "images": []}, "'image'"),
        ({"image": 1}, "string"),
        ({"image": "?"}, "base64"),
        ({"image": "AAA"}, "base64"),
        ({"image": "A A="}, "base64"),
        ({"image": "ä"}, "base64"),
        ({"images": "AAAA"}, "list"),
        ({"images": []}, "list"),
        ({"images": [None]}, "images[0]"),
        ({"image": "AAAA", "imagee": 1}, "did you mean 'image'"),
        ({"image": "AAAA", "top": 1}, "no 'top'"),
        ([], "object"),
        ("", "object"),
    ],
)
def test_wrong_json_is_refused(server: HttpServer, value: object, words: str) -> None:
    reply = server.post_json("/predict", value)
    assert (reply.status, words in reply.error) == (400, True)


def test_more_photos_than_allowed_are_refused(server: HttpServer) -> None:
    assert server.post_json("/predict", {"images": ["AAAA"] * 5}).status == 413
    reply = server.request("POST", "/predict", *multipart(*[b"x"] * 5))
    assert (reply.status, "4 parts" in reply.error) == (413, True)


def test_an_empty_body_and_another_type_are_refused(server: HttpServer) -> None:
    assert server.request("POST", "/predict", b"").status == 400
    assert server.request("POST", "/predict", b"x", {"Content-Type": "text/plain"}).status == 415


def test_a_request_that_is_late_gets_504(server: HttpServer) -> None:
    assert server.predict(jpeg(), "?timeout=0.000001").status == 504


def test_different_photos_tops_and_models_at_once_get_their_own_answers(server: HttpServer) -> None:
    def ask(number: int) -> None:
        model, top = ("one", "two")[number % 2], 1 + number % 5
        reply = server.predict(jpeg(number), f"?top={top}&model={model}", **{"X-Request-Id": f"id-{number}"})
        assert reply.headers["x-request-id"] == f"id-{number}"
        assert reply.headers["ghostclas-model"] == model
        assert len(reply.json["top"]) == top
        assert_right(reply.json, number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))


def test_the_type_of_a_body_is_its_content_types_first_word(server: HttpServer) -> None:
    body: Any = b'{"image": "' + text(jpeg()).encode() + b'"}'
    assert_right(
        server.request("POST", "/predict", body, {"Content-Type": "Application/JSON; charset=utf-8"}).json
    )
    assert server.request("POST", "/predict", body, JSON).status == 200
