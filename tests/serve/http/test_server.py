"""The server as a whole: TLS, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ghostclas.serve.security import Security
from tests.serve.certificates import make_certificate
from tests.serve.http.servers import HttpServer, assert_right, http_server, parse, read_all
from tests.serve.served import SECONDS, Gate, builtin_model, jpeg


def drain(server: HttpServer, grace: float = SECONDS) -> None:
    asyncio.run_coroutine_threadsafe(server.running.drain(grace), server.loop).result(SECONDS)


def test_tls_answers_clients_that_trust_the_certificate(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path)
    with http_server(security=Security(certificate=chain, key=key)) as server:
        server.assert_answers()
        server.context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            server.get("/v2")
        plain = server.exchange(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" not in plain


def test_mutual_tls_answers_clients_with_a_certificate_alone(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path)
    client, client_key = make_certificate(tmp_path, "client")
    security = Security(certificate=chain, key=key, client_authorities=client)
    with http_server(security=security) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.get("/v2")
        assert server.context is not None
        server.context.load_cert_chain(client, client_key)
        server.assert_answers()


def test_an_end_answers_what_was_begun_and_refuses_the_rest() -> None:
    gate = Gate()
    with http_server(builtin_model(engine=gate)) as server, ThreadPoolExecutor(2) as pool:
        begun = pool.submit(server.predict, jpeg(1))
        gate.wait()
        server.service.draining = True
        ended = pool.submit(drain, server)
        assert server.predict(jpeg(2)).status == 503
        gate.open.set()
        assert_right(begun.result().json, 1)
        ended.result()
        with pytest.raises(ConnectionRefusedError):
            server.get("/v2")


def test_an_idle_connection_is_told_that_the_server_ends() -> None:
    with http_server() as server, ThreadPoolExecutor(1) as pool:
        client = server.connect()
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(65536)
        server.service.draining = True
        ended = pool.submit(drain, server)
        photo = jpeg()
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(photo), photo)
        )
        reply = parse(read_all(client))
        assert (reply.status, reply.headers["connection"]) == (503, "close")
        ended.result()


def test_a_connection_that_stays_open_does_not_keep_the_server() -> None:
    with http_server() as server:
        client = server.connect()
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        server.assert_answers()
        server.service.draining = True
        drain(server, grace=0.2)
        assert read_all(client)[:12] in (b"", b"HTTP/1.1 503")
