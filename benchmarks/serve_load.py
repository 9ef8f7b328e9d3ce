"""The load generator of serve.py, a process of its own that stays on one core.

    python serve_load.py CORE        waits for jobs on stdin, a JSON object a line, and answers each with one

A job has ``kind`` and, as the kind needs them, ``port``, ``request`` (``path``, ``headers`` and ``bodies``,
the files of bodies that take turns), ``clients``, ``seconds`` after a ``warmup``, ``rate`` (a second) and
``count``:

- ``closed``: so many clients, each asking again when it has its answer;
- ``open``: requests at a rate, whether or not earlier ones have been answered;
- ``lone``: one request after the other on one connection, with a pause of 2 ms between them;
- ``grpc``: the same by ModelInfer;
- ``lossless``: ``count`` requests with ids by 64 clients; each answer must have its id and its photo's label.

An answer of the others is ``{"status": [milliseconds, ...], "seconds": ..., "errors": [...]}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import httptools
import uvloop

PAUSE = 0.002
WARMUP_SECONDS = 1.0
MOST_CONNECTIONS = 1000
LOSSLESS_CLIENTS = 64


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request on its way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self.unasked = 0
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        waiting, self.waiting, body, self._body = self.waiting, None, self._body, b""
        status, keep = self._parser.get_status_code(), self._parser.should_keep_alive()
        if not keep and self.transport is not None:
            self.transport.close()
            self.transport = None
        self._parser = httptools.HttpResponseParser(self)
        if waiting is None:
            self.unasked += 1
        elif not waiting.done():
            waiting.set_result((status, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionResetError("closed before the answer"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        assert self.transport is not None
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


def requests_of(job: dict[str, Any]) -> list[bytes]:
    request = job["request"]
    found = []
    for file in request["bodies"]:
        body = Path(file).read_bytes()
        lines = [f"POST {request['path']} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in request["headers"].items()]
        found.append("\r\n".join([*lines, "", ""]).encode() + body)
    return found


class Counted:
    """What came back: milliseconds by status, within the time that counts."""

    def __init__(self) -> None:
        self.since = 0.0
        self.until = float("inf")
        self.taken: dict[str, list[float]] = {}
        self.errors: list[str] = []

    def add(self, status: object, began: float) -> None:
        now = time.perf_counter()
        if self.since <= now <= self.until:
            self.taken.setdefault(str(status), []).append(1000 * (now - began))

    def answer(self) -> dict[str, Any]:
        return {**self.taken, "seconds": self.until - self.since, "errors": self.errors}


def window(job: dict[str, Any]) -> Counted:
    counted = Counted()
    counted.since = time.perf_counter() + job.get("warmup", WARMUP_SECONDS)
    counted.until = counted.since + job["seconds"]
    return counted


async def closed(job: dict[str, Any]) -> dict[str, Any]:
    requests, counted = requests_of(job), window(job)

    async def client(number: int) -> None:
        connection = await connect(job["port"])
        while time.perf_counter() < counted.until:
            if connection.transport is None:
                connection = await connect(job["port"])
            began = time.perf_counter()
            try:
                status, _ = await connection.ask(requests[number % len(requests)])
                counted.add(status, began)
            except ConnectionError as error:
                counted.errors.append(str(error))
            number += 1
        if connection.transport is not None:
            connection.transport.close()

    await asyncio.gather(*map(client, range(job["clients"])))
    return counted.answer()


async def open_loop(job: dict[str, Any]) -> dict[str, Any]:
    requests, counted = requests_of(job), window(job)
    idle: deque[Connection] = deque()
    asking: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        # From when it was due: a generator that lags does not hide it.
        try:
            connection = idle.pop() if idle else await connect(job["port"])
            status, _ = await connection.ask(requests[number % len(requests)])
            counted.add(status, due)
            if connection.transport is not None:
                idle.append(connection)
        except (ConnectionError, AssertionError) as error:
            counted.errors.append(str(error))

    due, number = time.perf_counter(), 0
    while due < counted.until:
        while due > time.perf_counter():
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(asking) < MOST_CONNECTIONS:
            task = asyncio.create_task(one(number, due))
            asking.add(task)
            task.add_done_callback(asking.discard)
        else:
            counted.errors.append("more requests on their way than the generator has connections")
        number += 1
        due += 1 / job["rate"]
    if asking:
        await asyncio.wait(asking, timeout=30)
    for connection in idle:
        if connection.transport is not None:
            connection.transport.close()
    return counted.answer()


async def lone(job: dict[str, Any]) -> dict[str, Any]:
    requests, counted = requests_of(job), Counted()
    connection = await connect(job["port"])
    for number in range(-20, job["count"]):
        await asyncio.sleep(PAUSE)
        began = time.perf_counter()
        status, _ = await connection.ask(requests[number % len(requests)])
        if number >= 0:
            counted.add(status, began)
    assert connection.transport is not None
    connection.transport.close()
    counted.until = 0.0
    return counted.answer()


async def lone_grpc(job: dict[str, Any]) -> dict[str, Any]:
    import grpc

    requests, counted = [Path(file).read_bytes() for file in job["request"]["bodies"]], Counted()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{job['port']}") as channel:
        infer: Callable[[bytes], Any] = channel.unary_unary(job["request"]["path"])
        for number in range(-20, job["count"]):
            await asyncio.sleep(PAUSE)
            began = time.perf_counter()
            await infer(requests[number % len(requests)])
            if number >= 0:
                counted.add("OK", began)
    counted.until = 0.0
    return counted.answer()


async def lossless(job: dict[str, Any]) -> dict[str, Any]:
    """Count what was answered once, wrongly, twice or not at all; ``labels`` are the right ones."""
    bodies = [Path(file).read_bytes() for file in job["request"]["bodies"]]
    numbers = iter(range(job["count"]))
    right = wrong = refused = unasked = 0
    lost: list[str] = []

    async def client() -> None:
        nonlocal right, wrong, refused, unasked
        connection = await connect(job["port"])
        for number in numbers:
            photo = number % len(bodies)
            request = infer_request(job["request"]["path"], f"r{number}", bodies[photo])
            while True:
                try:
                    status, body = await connection.ask(request)
                except ConnectionError as error:
                    lost.append(f"r{number}: {error}")
                    break
                if status != 503:
                    break
                refused += 1
                await asyncio.sleep(0.05)
            else:
                continue
            if lost and lost[-1].startswith(f"r{number}:"):
                connection = await connect(job["port"])
                continue
            answer = json.loads(body)
            label = answer["outputs"][0]["data"][0].split(":", 2)[2] if status == 200 else ""
            if status == 200 and answer["id"] == f"r{number}" and label == job["labels"][photo]:
                right += 1
            else:
                wrong += 1
            unasked += connection.unasked
            connection.unasked = 0

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(LOSSLESS_CLIENTS)))
    seconds = time.perf_counter() - began
    return {
        "right": right,
        "wrong": wrong,
        "refused": refused,
        "twice": unasked,
        "lost": lost,
        "seconds": seconds,
    }


def infer_request(path: str, name: str, image: bytes) -> bytes:
    """A request of the Open Inference Protocol with one encoded image, asking for the best label."""
    tensor = {
        "name": "encoded",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": 4 + len(image)},
    }
    output = {"name": "scores", "parameters": {"classification": 1, "binary_data": False}}
    head = json.dumps({"id": name, "inputs": [tensor], "outputs": [output]}).encode()
    body = head + len(image).to_bytes(4, "little") + image
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"Inference-Header-Content-Length: {len(head)}", "Content-Type: application/octet-stream"]
    return "\r\n".join([*lines, "", ""]).encode() + body


KINDS = {"closed": closed, "open": open_loop, "lone": lone, "grpc": lone_grpc, "lossless": lossless}


def main(arguments: Sequence[str]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(arguments[0])})
    for line in sys.stdin:
        job = json.loads(line)
        answer = uvloop.run(KINDS[job["kind"]](job))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
