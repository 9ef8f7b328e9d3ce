"""A real HTTP server on a loopback port, in a thread of its own, and clients that send any bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

from ghostclas.prediction import Classifier
from ghostclas.serve.access_log import Record
from ghostclas.serve.http.server import Running, start
from ghostclas.serve.metrics import Page
from ghostclas.serve.model import ServedModel
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service
from tests.serve.served import SECONDS, Shared, builtin_bundle, builtin_engine, jpeg, serving


@dataclass(frozen=True)
class Reply:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an answer that is no success."""
        message = self.json["error"]
        assert isinstance(message, str)
        assert message
        return message


@dataclass
class HttpServer:
    """A server that answers on ``port``."""

    service: Service
    running: Running
    loop: asyncio.AbstractEventLoop
    records: list[Record]
    context: ssl.SSLContext | None = None
    token: str | None = None
    _clients: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.running.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request on a connection of its own, and return the answer."""
        if self.context is None:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        else:
            connection = HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=self.context)
        with_token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request(method, path, body, {**with_token, **(headers or {})})
            return read_reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def predict(self, data: bytes, query: str = "", **headers: str) -> Reply:
        """Send a photo as the body."""
        return self.request("POST", f"/predict{query}", data, {"Content-Type": "image/jpeg", **headers})

    def post_json(self, path: str, value: object) -> Reply:
        return self.request("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def connect(self) -> socket.socket:
        """Return a socket on which a test may send anything; it is closed with the server."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        self._clients.append(client)
        return client

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes the connection."""
        client = self.connect()
        client.sendall(data)
        return read_all(client)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function in the server's loop."""
        done = threading.Event()
        found: list[Any] = []

        def run() -> None:
            found.append(function())
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(SECONDS)
        return found[0]

    def assert_answers(self, seed: int = 1) -> None:
        """Assert that another client gets its right answer now."""
        reply = self.predict(jpeg(seed))
        assert reply.status == 200
        assert_right(reply.json, seed)

    def wait_for_records(self, count: int) -> list[Record]:
        """Return the records when there are so many: one is written after its answer was sent."""
        while len(self.records) < count:
            self.call(lambda: None)
        return self.records

    def wait_for_record(self, method: str) -> Record:
        """Return the last record of a method, whatever else is still being written."""
        while not (found := [record for record in self.records if record.method == method]):
            self.call(lambda: None)
        return found[-1]

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()


def read_reply(response: HTTPResponse) -> Reply:
    return Reply(
        response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    )


def read_all(client: socket.socket) -> bytes:
    """Return what comes until the end, and close the socket; a reset is an end, too."""
    received = b""
    with client, suppress(ConnectionResetError):
        while piece := client.recv(65536):
            received += piece
    return received


def parse(raw: bytes) -> Reply:
    """Return the single answer that these bytes are."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert len(body) == int(headers["content-length"])
    return Reply(int(lines[0].split()[1]), headers, body)


@cache
def best(seed: int) -> tuple[tuple[str, float], ...]:
    """The labels and scores of a photo, as the classifier gives them."""
    (prediction,) = Classifier(builtin_bundle(), Shared(builtin_engine())).predict([jpeg(seed)])
    return tuple((label.label, label.score) for label in prediction.top)


def assert_right(prediction: Mapping[str, Any], seed: int = 0) -> None:
    """Assert that a prediction object is the one of a photo."""
    assert prediction["error"] is None
    found = [(label["label"], label["score"]) for label in prediction["top"]]
    assert [label for label, _ in found] == [label for label, _ in best(seed)][: len(found)]
    assert all(abs(score - right) < 1e-4 for (_, score), (_, right) in zip(found, best(seed), strict=False))


@contextmanager
def http_server(
    *models: ServedModel,
    security: Security | None = None,
    threads: int = 1,
    metrics: Callable[[], Page] | None = None,
    **limits: Any,
) -> Iterator[HttpServer]:
    """Serve these models, or the built-in one, in a thread."""
    security = security or Security()
    records: list[Record] = []
    with serving(*models, threads=threads, **limits) as service:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="http-server")
        thread.start()
        try:
            sock = socket.create_server(("127.0.0.1", 0))
            starting = start(
                service,
                service.limits,
                security,
                sock=sock,
                record=records.append,
                metrics=metrics,
            )
            running = asyncio.run_coroutine_threadsafe(starting, loop).result(SECONDS)
            server = HttpServer(service, running, loop, records, token=security.token)
            if security.certificate is not None:
                server.context = ssl.create_default_context(cafile=str(security.certificate))
            try:
                yield server
            finally:
                server.close_clients()
                asyncio.run_coroutine_threadsafe(running.close(), loop).result(SECONDS)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
