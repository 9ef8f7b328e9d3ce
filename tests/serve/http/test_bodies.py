"""Bodies that are too large, too slow, compressed or nested too deep, each with its exact status."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.bodies import BodyBudget, from_base64, parse_json
from ghostclas.serve.limits import Limits
from tests.serve.http.servers import HttpServer, assert_right, http_server, parse, read_all
from tests.serve.http.uploads import JSON, gzip_bomb, in_pieces, text
from tests.serve.served import jpeg

MOST = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(body_bytes=MOST, body_seconds=0.2, queue_bytes=2 * MOST) as running:
        yield running


@pytest.fixture(autouse=True)
def another_client(server: HttpServer) -> Iterator[None]:
    yield
    server.assert_answers()


@pytest.mark.parametrize("path", ["/predict", "/v2/models/default/infer"])
def test_a_declared_body_beyond_the_limit_is_413_before_it_comes(server: HttpServer, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {MOST + 1}\r\n\r\n"
    client = server.connect()
    client.sendall(head.encode())
    # Nothing of the body was sent.
    answer = b""
    while b"}" not in answer:
        answer += client.recv(65536)
    reply = parse(answer)
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert str(MOST) in reply.error


def test_a_declared_body_beyond_the_limit_is_413_when_it_comes_nevertheless(server: HttpServer) -> None:
    assert server.predict(bytes(60 * MOST)).status == 413


@pytest.mark.parametrize("length", ["99999999999999999999999", "1" * 18])
def test_a_declared_body_of_an_absurd_length_is_refused(server: HttpServer, length: str) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
    client = server.connect()
    client.sendall(head)
    assert client.recv(65536).split()[1] in (b"400", b"413")


def test_a_chunked_body_beyond_the_limit_is_413_while_it_is_read(server: HttpServer) -> None:
    reply = server.request("POST", "/predict", in_pieces(bytes(MOST + 1)), {"Content-Type": "image/jpeg"})
    assert (reply.status, reply.headers["connection"]) == (413, "close")


def test_a_chunked_body_within_the_limit_is_answered(server: HttpServer) -> None:
    assert_right(server.request("POST", "/predict", in_pieces(jpeg(2), 100)).json, 2)


def test_the_largest_body_is_taken(server: HttpServer) -> None:
    photo = jpeg() + bytes(MOST - len(jpeg()))
    assert server.predict(photo).status == 200


def test_a_gzip_bomb_is_413_and_is_not_inflated_to_its_end(server: HttpServer) -> None:
    bomb = gzip_bomb(60 * MOST)
    assert len(bomb) < MOST
    assert server.predict(bomb, **{"Content-Encoding": "gzip"}).status == 413


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("X-GZip", gzip.compress)]
)
def test_a_compressed_body_is_answered(server: HttpServer, encoding: str, pack: Any) -> None:
    assert_right(server.predict(pack(jpeg(1)), **{"Content-Encoding": encoding}).json, 1)
    chunked = in_pieces(pack(jpeg(1)), 7)
    assert_right(server.request("POST", "/predict", chunked, {"Content-Encoding": encoding}).json, 1)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (jpeg(), "gzip", 400),
        (gzip.compress(jpeg(), mtime=0)[:-9], "gzip", 400),
        (gzip.compress(jpeg(), mtime=0)[:5], "gzip", 400),
        (gzip.compress(jpeg(), mtime=0) + b"more", "gzip", 400),
        (gzip.compress(jpeg(), mtime=0) * 2, "gzip", 400),
        (jpeg(), "br", 415),
        (gzip.compress(gzip.compress(jpeg(), mtime=0), mtime=0), "gzip, gzip", 415),
    ],
)
def test_a_damaged_or_unknown_compression_is_refused(
    server: HttpServer, body: bytes, encoding: str, status: int
) -> None:
    reply = server.predict(body, **{"Content-Encoding": encoding})
    assert (reply.status, bool(reply.error)) == (status, True)


def test_a_body_that_never_ends_is_408(server: HttpServer) -> None:
    client = server.connect()
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    reply = parse(read_all(client))
    assert (reply.status, "0.2 s" in reply.error) == (408, True)


def test_a_chunked_body_that_never_ends_is_408(server: HttpServer) -> None:
    client = server.connect()
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert parse(read_all(client)).status == 408


def test_a_body_that_breaks_off_is_nobodys(server: HttpServer) -> None:
    before = len(server.records)
    client = server.connect()
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    client.close()
    server.assert_answers()
    (gone,) = [record for record in server.wait_for_records(before + 2)[before:] if record.status != "200"]
    assert (gone.status, gone.kind) == ("499", "cancelled")


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize("path", ["/predict", "/v2/models/default/infer"])
@pytest.mark.parametrize(
    "body",
    [
        nested(40_000, b"[", b"]"),
        b"[" * 100_000,
        b'{"a":' * 16_000,
        nested(150, b"[", b"]"),
        b'{"image":' + nested(33, b"[", b"]") + b"}",
        b'{"image":' + nested(33, b'{"a":', b"}") + b"}",
    ],
    ids=len,
)
def test_deep_json_is_400(server: HttpServer, path: str, body: bytes) -> None:
    reply = server.request("POST", path, body, JSON)
    assert (reply.status, bool(reply.error)) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"image": }',
        b'{"image": "A"} x',
        b"\xff\xfe",
        b'{"image": "\xff"}',
        b'{"image": "\\ud800"}',
        b'{"image": NaN}',
        b'{"image": 1e999}',
        b'{"image": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b'"image"',
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", ["/predict", "/v2/models/default/infer"])
def test_what_is_no_json_object_is_400(server: HttpServer, path: str, body: bytes) -> None:
    assert server.request("POST", path, body, JSON).status == 400


def test_json_of_the_deepest_kind_is_read() -> None:
    limits = Limits(json_depth=5)
    assert parse_json(b'{"a": [[[[1]]]]}', limits) == {"a": [[[[1]]]]}
    flat = json.dumps({"a": [[1]] * 1000}).encode()
    assert len(parse_json(flat, limits)["a"]) == 1000
    with pytest.raises(ServeError, match="deeper than 5"):
        parse_json(b'{"a": [[[[[1]]]]]}', limits)


@pytest.mark.parametrize("body", [b"[" + b"[]," * 2**18 + b"1]", b"[" + b"1," * (2**22 + 1) + b"1]"], ids=len)
def test_json_that_takes_seconds_to_read_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(ServeError) as caught:
        parse_json(body, Limits())
    assert caught.value.kind is Kind.TOO_LARGE


def test_base64_is_read_strictly() -> None:
    assert from_base64(text(b"abc"), "image") == b"abc"
    assert from_base64("data:;base64,YWJj", "image") == b"abc"
    for wrong in ("YWJj=", "YW Jj", "YWJj\n", "data:text/plain,abc", None, 1, ["YWJj"]):
        with pytest.raises(ServeError) as caught:
            from_base64(wrong, "image")
        assert caught.value.kind is Kind.INVALID


def test_bodies_share_a_budget_that_they_give_back() -> None:
    budget = BodyBudget(10)
    with budget.lease() as first, budget.lease() as second:
        first.grow(6)
        first.grow(3)
        second.grow(4)
        with pytest.raises(ServeError) as caught:
            second.grow(5)
        assert caught.value.kind is Kind.FULL
        assert caught.value.retry_after is not None
    with budget.lease() as third:
        third.grow(10)


def test_bodies_that_are_being_read_fill_the_server_until_they_end(server: HttpServer) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {MOST}\r\n\r\n".encode()
    clients = [server.connect() for _ in range(2)]
    for client in clients:
        client.sendall(head + bytes(MOST - 1))
    full = None
    while full is None or full.status == 200:
        full = server.predict(jpeg())
    assert (full.status, full.headers["retry-after"]) == (503, "1")
    for client in clients:
        assert parse(read_all(client)).status == 408
