"""Routes, tokens, failures, clients that leave, and what is recorded of each request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostclas.serve.security import Security
from tests.serve.http.servers import HttpServer, assert_right, http_server, parse, read_all
from tests.serve.http.uploads import JSON, encoded_input, multipart, pixels, text
from tests.serve.served import Failing, Gate, builtin_model, jpeg

TOKEN = "a token of more than 16 characters".replace(" ", "-")


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server() as running:
        yield running


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/predict/", "//", "/page", "/page/../app.py", "/page/%2e%2e/app.py", "/v2/models"),
        *("/v2/models/", "/v2/models//ready", "/v2/models/default/nothing", "/v2/models/default/versions"),
        *("/v2/models/default/ready/more", "/v2/models/%FF", "/v2/models/..%2f..", "/v3", "/predict%00"),
        *("/models/load?url=http://a", "/" + "x" * 5000),
    ],
)
def test_what_is_not_there_is_404(server: HttpServer, path: str) -> None:
    reply = server.get(path)
    assert (reply.status, bool(reply.error)) == (404, True)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("OPTIONS", "/predict", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/v2", "GET, HEAD"),
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("GET", "/v2/models/default/infer", "POST"),
        ("TRACE", "/metrics", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_taken_is_405(server: HttpServer, method: str, path: str, allowed: str) -> None:
    reply = server.request(method, path)
    assert (reply.status, reply.headers["allow"], bool(reply.error)) == (405, allowed, True)
    server.assert_answers()


def test_head_is_answered_without_a_body(server: HttpServer) -> None:
    reply = server.request("HEAD", "/v2/health/ready")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "14")


def test_a_refused_request_with_a_body_ends_its_connection_and_any_other_does_not(server: HttpServer) -> None:
    assert server.request("POST", "/nothing", bytes(5_000_000)).headers["connection"] == "close"
    assert "connection" not in server.get("/nothing").headers
    assert "connection" not in server.predict(b"no image").headers


def test_answers_carry_an_id_and_the_trace_that_the_caller_began(server: HttpServer) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {"x-request-id": "my-id", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    reply = server.request("GET", "/v2", headers=sent)
    assert reply.headers["x-request-id"] == "my-id"
    assert reply.headers["traceparent"].startswith(f"00-{trace}-")
    own = server.request("GET", "/v2", headers={"x-request-id": "my id\t", "traceparent": "nonsense"})
    assert own.headers["x-request-id"] != "my id"
    assert len(own.headers["traceparent"]) == 55


def test_a_record_says_what_became_of_a_request(server: HttpServer) -> None:
    server.predict(jpeg(), **{"X-Request-Id": "one"})
    server.predict(b"", **{"X-Request-Id": "two"})
    server.get("/nothing?secret=1")
    nothing = server.wait_for_record("GET /nothing")
    by_id = {record.request_id: record for record in server.records}
    good, bad = by_id["one"], by_id["two"]
    assert (good.method, good.status, good.kind) == ("POST /predict", "200", "")
    assert (good.model, good.images, good.received) == ("default", 1, len(jpeg()))
    assert (good.peer, good.sent > 100, good.seconds > 0) == ("127.0.0.1", True, True)
    assert (bad.status, bad.kind, bad.model, bad.images) == ("400", "invalid", "", 0)
    assert (nothing.method, nothing.status, nothing.kind) == ("GET /nothing", "404", "not_found")


def test_without_the_token_nothing_is_answered_but_health_and_the_page() -> None:
    with http_server(security=Security(token=TOKEN)) as server:
        assert_right(server.predict(jpeg()).json)
        server.token = None
        for path in (
            "/predict",
            "/v2",
            "/v2/models/default",
            "/metrics",
            "/models",
            "/status",
            "/openapi.json",
            "/no",
        ):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                reply = server.request("GET", path, headers=headers)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert TOKEN not in reply.error
        reply = server.predict(bytes(3_000_000))
        assert (reply.status, reply.headers["connection"]) == (401, "close")
        for path in ("/", "/page/app.js", "/v2/health/live", "/v2/health/ready"):
            assert server.get(path).status == 200
        server.token = TOKEN
        assert server.get("/openapi.json").json["security"] == [{"bearer": []}]


def test_a_failure_of_the_model_is_500_without_its_details_and_the_next_answer_is_right() -> None:
    poison = pixels(7)[0]

    def fault(images: NDArray[np.uint8]) -> BaseException | None:
        poisoned = any(np.array_equal(image, poison) for image in images)
        return RuntimeError("secret of the model") if poisoned else None

    with http_server(builtin_model(engine=Failing(fault), batch=4)) as server:
        reply = server.predict(jpeg(7))
        assert (reply.status, "secret" in reply.error) == (500, False)
        server.assert_answers(8)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda seed: server.predict(jpeg(seed)), range(4, 12)))
        assert [reply.status for reply in replies] == [500 if seed == 7 else 200 for seed in range(4, 12)]
        for seed in (4, 5, 6, 8, 9, 10, 11):
            assert_right(replies[seed - 4].json, seed)


def test_logits_that_are_no_numbers_are_500() -> None:
    class Broken(Failing):
        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full((len(images), 200), np.nan, np.float32)

    with http_server(builtin_model(engine=Broken(lambda images: None))) as server:
        assert server.predict(jpeg()).status == 500
        outputs = [{"name": "logits", "parameters": {"classification": 1}}]
        request = {"inputs": [encoded_input(1, data=[text(jpeg())])], "outputs": outputs}
        assert server.post_json("/v2/models/default/infer", request).status == 500
        assert server.get("/v2/health/live").status == 200


def test_a_client_that_leaves_takes_nothing_from_the_others() -> None:
    gate = Gate()
    with http_server(builtin_model(engine=gate)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.predict, jpeg(1))
        gate.wait()
        body, headers = multipart(*[jpeg(seed) for seed in range(8)])
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: {headers['Content-Type']}\r\n\r\n"
        leaving = [server.connect() for _ in range(5)]
        for client in leaving:
            client.sendall(head.encode() + body)
        while server.call(lambda: server.service.waiting) != 40:
            pass
        for client in leaving:
            client.close()
        while server.call(lambda: server.service.waiting):
            pass
        gate.open.set()
        assert_right(running.result().json, 1)
        server.assert_answers(2)
        # The batch that ran, and the one of the last client: nobody else's photo was computed.
        assert sum(gate.sizes) == 2
        statuses = [record.status for record in server.wait_for_records(7)]
        assert (statuses.count("499"), statuses.count("200")) == (5, 2)


def test_two_hundred_disconnects_and_then_an_answer() -> None:
    photo = jpeg(3)
    with http_server(threads=2) as server:
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(photo)
        for number in range(200):
            client = server.connect()
            client.sendall((head + photo)[: 50 + number * 10])
            client.close()
        server.assert_answers(3)
        while server.call(lambda: server.service.pending):
            pass
        assert server.service.waiting == 0


def test_a_full_queue_is_503_with_retry_after_and_what_waits_is_answered() -> None:
    gate = Gate()
    model = builtin_model(engine=gate)
    with http_server(model, queue_images=2, request_images=2) as server, ThreadPoolExecutor(3) as pool:
        replies = [pool.submit(server.predict, jpeg(0))]
        gate.wait()
        replies += [pool.submit(server.predict, jpeg(seed)) for seed in (1, 2)]
        while server.call(lambda: server.service.waiting) != 2:
            pass
        full = server.predict(jpeg(3))
        assert (full.status, int(full.headers["retry-after"]) >= 1) == (503, True)
        assert server.get("/v2/health/live").status == 200
        gate.open.set()
        for seed, reply in enumerate(replies):
            assert_right(reply.result().json, seed)


def test_twenty_five_tiny_deadlines_and_then_twenty_five_answers() -> None:
    with http_server() as server, ThreadPoolExecutor(25) as pool:
        late = list(pool.map(lambda seed: server.predict(jpeg(seed), "?timeout=0.000001"), range(25)))
        assert {reply.status for reply in late} == {504}
        for seed, reply in enumerate(pool.map(lambda seed: server.predict(jpeg(seed % 5)), range(25))):
            assert_right(reply.json, seed % 5)


def test_a_late_request_is_504_on_time_and_not_after_the_batch_before_it() -> None:
    gate = Gate()
    with http_server(builtin_model(engine=gate)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.predict, jpeg(0))
        gate.wait()
        # The batch before it runs until the gate opens, which is after this answer.
        assert server.predict(jpeg(1), "?timeout=0.05").status == 504
        gate.open.set()
        assert_right(running.result().json, 0)


def test_a_draining_server_refuses_with_503_and_ends_the_connection() -> None:
    with http_server() as server:
        server.service.draining = True
        for reply in (server.predict(jpeg()), server.post_json("/v2/models/default/infer", {"inputs": []})):
            assert (reply.status, reply.headers["connection"]) == (503, "close")
            assert int(reply.headers["retry-after"]) >= 1
        ready = server.get("/v2/health/ready")
        assert (ready.status, ready.json["ready"], bool(ready.error)) == (503, False, True)
        assert server.get("/v2/models/default/ready").status == 503
        assert server.get("/v2/health/live").status == 200


def test_a_client_that_half_closes_after_its_request_gets_no_other_ones_answer(server: HttpServer) -> None:
    photo = jpeg(5)
    client = server.connect()
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(photo), photo))
    client.shutdown(1)
    received = read_all(client)
    assert received == b"" or parse(received).status == 200
    server.assert_answers()


def test_an_upload_and_json_at_once(server: HttpServer) -> None:
    def ask(number: int) -> None:
        if number % 2:
            body, headers = multipart(jpeg(number))
            assert_right(server.request("POST", "/predict", body, headers).json["predictions"][0], number)
        else:
            body = json.dumps({"image": text(jpeg(number))}).encode()
            assert_right(server.request("POST", "/predict", body, JSON).json, number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
