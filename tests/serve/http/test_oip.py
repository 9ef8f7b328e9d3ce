"""The Open Inference Protocol over HTTP, in JSON and with binary tensors."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostclas.imaging import softmax
from tests.serve.http.servers import HttpServer, Reply, http_server
from tests.serve.http.uploads import (
    BAD_IMAGES,
    JSON,
    LENGTH,
    element,
    encoded_input,
    pixels,
    pixels_input,
    text,
    with_tail,
)
from tests.serve.served import builtin_engine, builtin_model, jpeg

INFER = "/v2/models/one/infer"


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    limits: Any = {"request_images": 4, "tensor_bytes": 3 * 128 * 128 * 3}
    with http_server(builtin_model("one"), builtin_model("two"), **limits) as running:
        yield running


@pytest.fixture(autouse=True)
def another_client(server: HttpServer) -> Iterator[None]:
    yield
    server.assert_answers()


def infer(server: HttpServer, *inputs: dict[str, Any], **more: Any) -> Reply:
    return server.post_json(INFER, {"inputs": list(inputs), **more})


def infer_binary(server: HttpServer, tail: bytes, *inputs: dict[str, Any], **more: Any) -> Reply:
    body, headers = with_tail({"inputs": list(inputs), **more}, tail)
    return server.request("POST", INFER, body, headers)


def encoded(*seeds: int) -> dict[str, Any]:
    return encoded_input(len(seeds), data=[text(jpeg(seed)) for seed in seeds])


def tensors(reply: Reply) -> dict[str, NDArray[Any]]:
    """Return the outputs of an answer, in whichever form they are."""
    assert reply.status == 200, reply.body
    length = reply.headers.get(LENGTH.lower())
    head = json.loads(reply.body[: int(length)] if length else reply.body)
    tail = reply.body[int(length) :] if length else b""
    assert reply.headers["content-type"] == ("application/octet-stream" if length else "application/json")
    found: dict[str, NDArray[Any]] = {}
    for output in head["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values: NDArray[Any] = np.array(output["data"])
        elif output["datatype"] == "BYTES":
            elements, data = [], tail[:size]
            while data:
                count = int.from_bytes(data[:4], "little")
                elements.append(data[4 : 4 + count].decode())
                data = data[4 + count :]
            values = np.array(elements)
        else:
            values = np.frombuffer(tail[:size], "<f4")
        tail = tail[size or 0 :]
        found[output["name"]] = values.reshape(output["shape"])
    assert tail == b""
    return found


def logits_of(*seeds: int) -> NDArray[np.float32]:
    return builtin_engine().run(pixels(*seeds))


def test_health_and_metadata(server: HttpServer) -> None:
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    assert server.get("/v2").json == server.get("/v2/").json
    assert server.get("/v2").json["extensions"] == ["binary_tensor_data", "classification"]
    version = server.service.model("two").version
    metadata = server.get("/v2/models/two").json
    assert metadata["versions"] == [version]
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 128, 128, 3]}]
    assert [output["name"] for output in metadata["outputs"]] == ["logits", "scores"]
    assert server.get(f"/v2/models/two/versions/{version}").json == metadata
    assert server.get("/v2/models/two/ready").json == {"name": "two", "ready": True}
    assert server.get(f"/v2/models/two/versions/{version}/ready").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/tow",
        "/v2/models/tow/ready",
        "/v2/models/one/versions/9",
        "/v2/models/one/versions/9/ready",
    ],
)
def test_a_model_or_version_that_is_not_served_is_404(server: HttpServer, path: str) -> None:
    assert server.get(path).status == 404
    assert server.get(path).error


def test_encoded_images_and_their_pixels_have_the_same_tensors(server: HttpServer) -> None:
    expected = logits_of(1, 2)
    files = [jpeg(1), jpeg(2)]
    tail = b"".join(map(element, files))
    raw = pixels(1, 2)
    for reply in (
        infer(server, encoded(1, 2)),
        infer_binary(server, tail, encoded_input(2, len(tail))),
        infer_binary(server, raw.tobytes(), pixels_input(list(raw.shape), raw.nbytes)),
        infer(server, pixels_input(list(raw.shape), data=raw.ravel().tolist())),
        infer(server, pixels_input(list(raw.shape), data=raw.tolist())),
    ):
        found = tensors(reply)
        np.testing.assert_allclose(found["logits"], expected, atol=1e-4)
        temperature = server.service.model("one").postprocess.temperature
        np.testing.assert_allclose(found["scores"], softmax(expected, temperature), atol=1e-5)


def test_a_large_request_is_read_beside_the_loop(server: HttpServer) -> None:
    raw = pixels(1, 2, 3)
    reply = infer(server, pixels_input(list(raw.shape), data=raw.tolist()), id=" " * 2**18)
    np.testing.assert_allclose(tensors(reply)["logits"], logits_of(1, 2, 3), atol=1e-4)
    refused = infer(server, pixels_input(list(raw.shape), data=[]), id=" " * 2**18)
    assert refused.status == 400


def test_the_answer_names_model_version_and_id(server: HttpServer) -> None:
    answer = infer(server, encoded(1), id="an id").json
    assert answer["model_name"] == "one"
    assert answer["model_version"] == server.service.model("one").version
    assert answer["id"] == "an id"
    assert "id" not in infer(server, encoded(1)).json
    path = f"/v2/models/one/versions/{answer['model_version']}/infer"
    assert server.post_json(path, {"inputs": [encoded(1)]}).status == 200
    assert server.post_json("/v2/models/one/versions/9/infer", {"inputs": [encoded(1)]}).status == 404


def test_outputs_are_in_json_or_binary_as_each_is_asked_for(server: HttpServer) -> None:
    expected = logits_of(3)
    mixed = infer(
        server,
        encoded(3),
        outputs=[
            {"name": "scores", "parameters": {"classification": 2}},
            {"name": "logits", "parameters": {"binary_data": True}},
        ],
    )
    found = tensors(mixed)
    assert list(found) == ["scores", "logits"]
    np.testing.assert_allclose(found["logits"], expected, atol=1e-4)
    assert found["scores"].shape == (1, 2)
    assert int(found["scores"][0, 0].split(":")[1]) == expected.argmax()
    all_binary = infer(server, encoded(3), parameters={"binary_data_output": True})
    assert list(tensors(all_binary)) == ["logits", "scores"]
    assert LENGTH.lower() in all_binary.headers
    one_json = infer(
        server,
        encoded(3),
        parameters={"binary_data_output": True},
        outputs=[{"name": "logits", "parameters": {"binary_data": False}}],
    )
    assert LENGTH.lower() not in one_json.headers
    classes = infer(
        server,
        encoded(3),
        outputs=[{"name": "logits", "parameters": {"classification": 3, "binary_data": True}}],
    )
    assert tensors(classes)["logits"].shape == (1, 3)
    assert list(tensors(infer(server, encoded(3), outputs=[]))) == ["logits", "scores"]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_the_length_of_the_json_is_counted_on_the_uncompressed_body(server: HttpServer, pack: Any) -> None:
    tail = element(jpeg(1))
    body, headers = with_tail({"inputs": [encoded_input(1, len(tail))]}, tail)
    kind = "gzip" if pack is gzip.compress else "deflate"
    reply = server.request("POST", INFER, pack(body), {**headers, "Content-Encoding": kind})
    np.testing.assert_allclose(tensors(reply)["logits"], logits_of(1), atol=1e-4)


ONE = element(b"abc")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "inputs is a list"),
        ({"inputs": {}}, "inputs is a list"),
        ({"inputs": []}, "one input"),
        ({"inputs": ["images"]}, "list of objects"),
        ({"inputs": [{}]}, "a name"),
        ({"inputs": [{"name": 1}]}, "a name"),
        ({"inputs": [{"name": "images", "datatype": "UINT8", "shape": "1"}]}, "shape is a list"),
        ({"inputs": [{"name": "images", "datatype": "UINT8"}]}, "shape is a list"),
        ({"inputs": [{"name": "images", "shape": [1]}]}, "datatype is a string"),
        ({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1]}]}, "no input 'image'"),
        ({"inputs": [pixels_input([1, 128, 128, 3])]}, "neither data nor"),
        ({"inputs": [pixels_input([True, 128, 128, 3], data=[])]}, "whole numbers"),
        ({"inputs": [pixels_input([-1, 128, 128, 3], data=[])]}, "whole numbers"),
        ({"inputs": [pixels_input([2**62, 128, 128, 3], data=[])]}, "2^63"),
        ({"inputs": [encoded_input(1, data=["?"])]}, "base64"),
        ({"inputs": [encoded_input(1, data=["AAAA"])] * 2}, "one input"),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "id": 1}, "id is a string"),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "parameters": []}, "an object"),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "parameters": {"a": {}}}, "a number or a boolean"),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "parameters": {"timeout": -1}}, "microseconds"),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "parameters": {"timeout": "1"}}, "microseconds"),
        (
            {"inputs": [encoded_input(1, data=["AAAA"])], "parameters": {"binary_data_output": 1}},
            "true or false",
        ),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "outputs": {}}, "outputs is a list"),
        (
            {"inputs": [encoded_input(1, data=["AAAA"])], "outputs": [{"name": "labels"}]},
            "no output 'labels'",
        ),
        ({"inputs": [encoded_input(1, data=["AAAA"])], "outputs": [{"name": "logits"}] * 2}, "twice"),
        (
            {
                "inputs": [encoded_input(1, data=["AAAA"])],
                "outputs": [{"name": "logits", "parameters": {"classification": 0}}],
            },
            "at least 1",
        ),
        (
            {
                "inputs": [encoded_input(1, data=["AAAA"])],
                "outputs": [{"name": "logits", "parameters": {"classification": True}}],
            },
            "whole number",
        ),
        ({"inputs": [encoded_input(1, 7, data=["AAAA"])]}, "both data and"),
        ({"inputs": [encoded_input(1, 7)]}, "0 bytes follow"),
    ],
)
def test_a_request_that_breaks_the_protocol_is_400(
    server: HttpServer, request_: dict[str, Any], words: str
) -> None:
    reply = server.post_json(INFER, request_)
    assert (reply.status, words in reply.error) == (400, True), reply.body


@pytest.mark.parametrize(
    ("tail", "one", "words"),
    [
        (ONE, encoded_input(1, len(ONE) - 1), "7 bytes follow the JSON"),
        (ONE, encoded_input(1, len(ONE) + 1), "7 bytes follow the JSON"),
        (ONE, encoded_input(1), "no input has a binary_data_size"),
        (ONE, encoded_input(1, -1), "whole number"),
        (ONE, encoded_input(2, len(ONE)), "its shape says 2"),
        (ONE + ONE, encoded_input(1, 14), "follow its 1 elements"),
        (ONE[:3], encoded_input(1, 3), "breaks off"),
        (ONE[:6], encoded_input(1, 6), "says that it has 3 bytes, 2 follow"),
        (b"\xff\xff\xff\xff" + b"abc", encoded_input(1, 7), "4294967295"),
        (b"\xff\xff\xff\x7f" + b"abc", encoded_input(1, 7), "2147483647"),
        (bytes(10), pixels_input([1, 128, 128, 3], 10), "49152 bytes, got 10"),
    ],
)
def test_a_lying_binary_tensor_is_400(
    server: HttpServer, tail: bytes, one: dict[str, Any], words: str
) -> None:
    reply = infer_binary(server, tail, one)
    assert (reply.status, words in reply.error) == (400, True), reply.body


@pytest.mark.parametrize("length", ["0", "-1", "99999", "x", "9" * 40])
def test_a_lying_header_length_is_400(server: HttpServer, length: str) -> None:
    body, headers = with_tail({"inputs": [encoded_input(1, len(ONE))]}, ONE)
    reply = server.request("POST", INFER, body, {**headers, LENGTH: length})
    assert (reply.status, "counts the bytes" in reply.error) == (400, True)


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_header_length_beside_the_end_of_the_json_is_400(server: HttpServer, cut: int) -> None:
    body, headers = with_tail({"inputs": [encoded_input(1, len(ONE))]}, ONE)
    headers[LENGTH] = str(int(headers[LENGTH]) + cut)
    assert server.request("POST", INFER, body, headers).status == 400


def test_more_images_or_a_larger_tensor_than_allowed_are_413(server: HttpServer) -> None:
    assert infer(server, encoded_input(5, data=["AAAA"] * 5)).status == 413
    assert infer(server, encoded_input(2**40, data=[])).status == 413
    assert infer(server, pixels_input([4, 128, 128, 3], data=[])).status == 413


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_400_and_named(server: HttpServer, name: str) -> None:
    bad = BAD_IMAGES[name]
    tail = element(jpeg(1)) + element(bad.data)
    reply = infer_binary(server, tail, encoded_input(2, len(tail)))
    assert reply.status == 400
    assert reply.error.startswith(f"image 1 of 2, counted from 0: {bad.code}: ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/one/load"),
        ("POST", "/v2/repository/models/one/unload"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/a/register"),
        ("POST", "/v2/cudasharedmemory/region/a/register"),
        ("GET", "/v2/models/stats"),
        ("GET", "/v2/models/one/stats"),
        ("GET", "/v2/models/one/config"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/logging"),
    ],
)
def test_repository_shared_memory_and_other_extensions_are_501(
    server: HttpServer, method: str, path: str
) -> None:
    reply = server.request(method, path, b'{"shm": "/dev/shm/a"}' if method == "POST" else None, JSON)
    assert (reply.status, "no repository" in reply.error) == (501, True)


def test_a_tensor_in_shared_memory_is_501(server: HttpServer) -> None:
    region = {"shared_memory_region": "a", "shared_memory_byte_size": 49152}
    assert infer(server, {**pixels_input([1, 128, 128, 3]), "parameters": region}).status == 501
    outputs = [{"name": "logits", "parameters": region}]
    assert infer(server, encoded(1), outputs=outputs).status == 501


def test_a_timeout_in_microseconds_that_passed_is_504(server: HttpServer) -> None:
    assert infer(server, encoded(1), parameters={"timeout": 1}).status == 504
    assert infer(server, encoded(1), parameters={"timeout": 0}).status == 200
    assert infer(server, encoded(1), parameters={"timeout": 60_000_000}).status == 200


def test_different_outputs_models_and_ids_at_once_get_their_own_answers(server: HttpServer) -> None:
    def ask(number: int) -> None:
        name = ("logits", "scores")[number % 2]
        model = ("one", "two")[number // 2 % 2]
        outputs = [
            {"name": name, "parameters": {"classification": 1 + number % 3, "binary_data": number % 5 == 0}}
        ]
        request = {"id": str(number), "inputs": [encoded(number)], "outputs": outputs}
        reply = server.post_json(f"/v2/models/{model}/infer", request)
        length = reply.headers.get(LENGTH.lower())
        head = json.loads(reply.body[: int(length)] if length else reply.body)
        assert (head["id"], head["model_name"]) == (str(number), model)
        found = tensors(reply)[name]
        assert found.shape == (1, 1 + number % 3)
        assert int(found[0, 0].split(":")[1]) == logits_of(number).argmax()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
