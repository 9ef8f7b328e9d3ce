"""Headers that are too large or too slow, sockets that idle or do not read, and bRPC on the same port."""

from __future__ import annotations

import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostclas.serve.http.protocol import BRPC_MAGIC
from tests.serve.brpc.client import Client, frame, meta, picture
from tests.serve.hosting import scores_of
from tests.serve.http.servers import HttpServer, assert_right, http_server, parse, read_all
from tests.serve.served import builtin_model, jpeg

LIMITS: dict[str, Any] = {
    "header_bytes": 2000,
    "header_lines": 20,
    "header_seconds": 0.2,
    "idle_seconds": 0.4,
    "connections": 20,
}
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(**LIMITS) as running:
        yield running


@pytest.fixture(autouse=True)
def another_client(server: HttpServer) -> Iterator[None]:
    yield
    server.assert_answers()


@pytest.mark.parametrize(
    "head",
    [
        GET + b"A: " + b"x" * 2000 + b"\r\n\r\n",
        GET + b"A: " + b"x" * 2000,
        GET + b"A" * 2000 + b": x\r\n\r\n",
        GET + b"A: x\r\n" * 30 + b"\r\n",
        GET + b"A: x\r\n" * 300,
        b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 3000,
        GET + b"A: " + b"x" * 5_000_000 + b"\r\n\r\n",
        GET + b"A: x\r\n" * 400_000 + b"\r\n",
    ],
    ids=len,
)
def test_a_header_that_is_too_large_is_431(server: HttpServer, head: bytes) -> None:
    reply = parse(server.exchange(head))
    assert (reply.status, "2000 bytes in 20 lines" in reply.error) == (431, True)


def test_the_largest_header_is_answered(server: HttpServer) -> None:
    head = GET + b"Connection: close\r\nA: "
    head += b"x" * (2000 - len(head) - 4) + b"\r\n\r\n"
    assert len(head) == 2000
    assert parse(server.exchange(head)).status == 200


def test_a_second_header_that_is_too_large_is_431_too(server: HttpServer) -> None:
    client = server.connect()
    client.sendall(GET + b"\r\n")
    answer = b""
    while not answer.endswith(b'{"live":true}'):
        answer += client.recv(65536)
    client.sendall(GET + b"A: " + b"x" * 2000)
    assert parse(read_all(client)).status == 431


@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\nHost", GET, b"P", BRPC_MAGIC[:3]])
def test_a_header_that_does_not_end_is_408(server: HttpServer, part: bytes) -> None:
    reply = parse(server.exchange(part))
    assert (reply.status, "0.2 s" in reply.error) == (408, True)


def test_a_header_that_drips_is_408(server: HttpServer) -> None:
    client = server.connect()
    client.settimeout(0.02)
    received = b""
    for byte in GET * 100:
        try:
            client.send(bytes([byte]))
            received += client.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if b"}" in received:
            break
    assert parse(received).status == 408


def test_a_connection_without_a_request_is_closed(server: HttpServer) -> None:
    assert server.exchange(b"") == b""


def test_a_connection_that_idles_after_its_answer_is_closed(server: HttpServer) -> None:
    assert parse(server.exchange(GET + b"\r\n")).status == 200


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA B: c\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRPZ" + bytes(20),
    ],
    ids=repr,
)
def test_what_is_no_request_is_400(server: HttpServer, noise: bytes) -> None:
    reply = parse(server.exchange(noise))
    assert (reply.status, bool(reply.error)) == (400, True)


def test_what_is_no_request_is_400_whatever_its_size(server: HttpServer) -> None:
    assert parse(server.exchange(b"no request, and larger than any header" + bytes(5000))).status == 400


def test_a_request_before_what_is_none_has_its_answer(server: HttpServer) -> None:
    photo = jpeg(5)
    request = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(photo), photo)
    reply = parse(server.exchange(request + b"\0\0 no request"))
    assert reply.status == 200
    assert_right(reply.json, 5)


def test_a_damaged_chunk_is_refused(server: HttpServer) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parse(server.exchange(head + b"zz\r\nabc\r\n")).status == 400
    assert parse(server.exchange(head + b"3\r\nabcde\r\n0\r\n\r\n")).status == 400


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
def test_a_wish_for_another_protocol_is_not_granted_and_costs_no_body(
    server: HttpServer, name: bytes
) -> None:
    wish = b"Connection: Upgrade, HTTP2-Settings\r\n%b: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" % name
    photo = jpeg(6)
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (wish, len(photo))
    client = server.connect()
    for _ in range(2):
        client.sendall(head + photo)
        answer = b""
        while not answer.endswith(b"null}"):
            answer += client.recv(65536)
        assert_right(parse(answer).json, 6)


def test_an_upgrade_that_comes_in_pieces_is_refused_rather_than_misread(server: HttpServer) -> None:
    client = server.connect()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(GET + b"Connection: Upgrade\r\nUpgr")
    server.call(lambda: None)
    client.sendall(b"ade: websocket\r\n\r\n")
    assert parse(read_all(client)).status in (200, 400)


def test_pipelined_requests_are_answered_in_order(server: HttpServer) -> None:
    photo = jpeg(2)
    post = b"POST /predict?top=1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(photo), photo)
    received = server.exchange(post + GET + b"\r\n" + post)
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200"] * 3
    assert received.index(b'"top"') < received.index(b'{"live":true}') < received.rindex(b'"top"')


@pytest.mark.parametrize("pieces", [[1, 1, 1, 1], [2, 2], [4], [3, 17], []])
def test_a_connection_of_brpc_is_answered_on_this_port_however_its_bytes_come(
    server: HttpServer, pieces: list[int]
) -> None:
    data = frame(meta(7), picture(jpeg(2)))
    with Client(server.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        for piece in pieces:
            client.send(data[at : at + piece])
            at += piece
            server.call(lambda: None)
        client.send(data[at:])
        reply = client.receive()
        assert (reply.code, reply.correlation_id) == (0, 7)
        np.testing.assert_allclose(reply.outputs["prediction"], scores_of(jpeg(2)), atol=1e-5)
        assert client.call(picture(jpeg(3))).code == 0


def test_connections_beyond_the_limit_get_503(server: HttpServer) -> None:
    clients = [server.connect() for _ in range(LIMITS["connections"] + 5)]
    refused = [reply for reply in map(read_all, clients) if reply]
    assert len(refused) >= 5
    assert {parse(reply).status for reply in refused} == {503}


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with http_server(builtin_model(), write_seconds=0.2) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        # More answers than the buffers of both ends take.
        request = b"GET /page/app.js HTTP/1.1\r\nHost: a\r\n\r\n"
        sent = 0
        client.settimeout(0.05)
        connections = server.running._server.server_state.connections
        while not sent or server.call(lambda: len(connections)):
            try:
                sent += client.send(request * 20)
            except TimeoutError:
                continue
            except OSError:
                break
        server.assert_answers()
        client.close()


def test_five_hundred_connections_are_answered() -> None:
    photo = jpeg(4)
    head = b"POST /predict?top=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    request = head % len(photo) + photo
    with http_server(threads=2, queue_images=500) as server:
        clients = [server.connect() for _ in range(500)]
        for client in clients:
            client.sendall(request[:-1])
        server.assert_answers()
        for client in clients:
            client.sendall(request[-1:])
        for client in clients:
            reply = parse(read_all(client))
            assert reply.status == 200
            assert_right(reply.json, 4)


def reset_connections(port: int, count: int) -> None:
    """Open connections in every state and reset them."""
    starts = [b"", b"GET", GET + b"\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
    for number in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(starts[number % 4])
        client.close()


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


@pytest.mark.parametrize("count", [100, pytest.param(20_000, marks=pytest.mark.slow)])
def test_connections_that_are_reset_leave_nothing(count: int) -> None:
    with http_server() as server:
        reset_connections(server.port, 100)
        server.assert_answers()
        before = resident()
        for _ in range(count // 100):
            reset_connections(server.port, 100)
            # Those that the loop has not come to yet still count, and others would be refused.
            while server.call(lambda: len(server.running._server.server_state.connections)):
                pass
            server.call(server.records.clear)
        server.assert_answers()
        assert server.service.pending == 0
        assert resident() - before < 20_000_000
