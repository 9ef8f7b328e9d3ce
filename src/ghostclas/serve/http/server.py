"""The HTTP server of one process: uvicorn in a loop that is not its own, without its signals and logs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, cast

import uvicorn

from ghostclas.serve.access_log import Record
from ghostclas.serve.brpc.server import BrpcServer
from ghostclas.serve.http.app import App
from ghostclas.serve.http.protocol import BoundedProtocol
from ghostclas.serve.limits import Limits
from ghostclas.serve.metrics import Page
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service

LAST_ANSWERS_SECONDS = 1.0
"""While it drains, open and new connections are told so for this long, before they are closed."""

_BACKLOG = 1024


class _Uvicorn(uvicorn.Server):
    """uvicorn, whose process belongs to somebody else."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the process."""
        yield


class Running:
    """A server that answers. ``port`` is where."""

    def __init__(self, server: uvicorn.Server, brpc: BrpcServer, task: asyncio.Task[None], port: int) -> None:
        self._server = server
        self._brpc = brpc
        self._task = task
        self.port = port

    async def drain(self, grace: float) -> None:
        """Answer what was begun, tell the others for a moment that the server is shutting down, and end.

        The service drains already, so that new requests get 503 and their connections end.

        Args:
            grace: seconds after which connections are cut.
        """
        connections = self._server.server_state.connections
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LAST_ANSWERS_SECONDS, grace / 2)):
                while connections:
                    await asyncio.sleep(0.02)
        self._server.should_exit = True
        await self._brpc.drain(grace)
        done, _ = await asyncio.wait((self._task,), timeout=grace)
        if not done:
            await self.close()

    async def close(self) -> None:
        """End at once: connections are cut."""
        self._server.should_exit = True
        self._server.force_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._brpc.close()
        await asyncio.wait((self._task,))


async def start(
    service: Service,
    limits: Limits,
    security: Security,
    *,
    sock: socket.socket,
    record: Callable[[Record], None] = lambda record: None,
    metrics: Callable[[], Page] | None = None,
) -> Running:
    """Serve HTTP on a socket, and bRPC to the connections that begin with its magic.

    Args:
        service: what answers.
        limits: of connections, headers and bodies.
        security: who may ask, and TLS.
        sock: bound; the server closes it.
        record: called with what became of each request.
        metrics: gives the page of ``/metrics``, if there is one.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    context = security.context()
    brpc = BrpcServer(service, limits, security, record)
    config = uvicorn.Config(
        cast(Any, App(service, limits, security=security, metrics=metrics, record=record)),
        http=cast(Any, partial(BoundedProtocol, limits=limits, brpc=brpc.protocol)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", "ghostclas")],
        backlog=_BACKLOG,
        timeout_keep_alive=cast(int, limits.idle_seconds),
        ssl_context_factory=None if context is None else lambda config, default: context,
        interface="asgi3",
    )
    port: int = sock.getsockname()[1]
    server = _Uvicorn(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not task.done():
        await asyncio.sleep(0)
    if task.done():
        task.result()
    return Running(server, brpc, task, port)
