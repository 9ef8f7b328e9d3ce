"""A protocol that listens, in an event loop of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ghostclas.imaging import preprocess, softmax
from ghostclas.serve.access_log import Record
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service
from tests.serve.served import SECONDS, builtin_bundle, builtin_engine

Result = TypeVar("Result")


class Hosted:
    """A running protocol. ``records`` are those of the calls that ended."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self.records: list[Record] = []
        self._loop = loop
        self._recorded = threading.Condition()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def record(self, record: Record) -> None:
        """Take a record."""
        with self._recorded:
            self.records.append(record)
            self._recorded.notify_all()

    def await_records(self, wanted: Callable[[list[Record]], bool]) -> None:
        """Wait until the records are as wanted."""
        with self._recorded:
            assert self._recorded.wait_for(lambda: wanted(self.records), SECONDS)


class HostedProtocol(Hosted):
    """A running protocol on a port."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(service, loop)
        self.running: Any = None

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.running.port)


@contextmanager
def hosted(
    start: Callable[..., Coroutine[Any, Any, Any]],
    service: Service,
    security: Security | None = None,
    **options: Any,
) -> Iterator[HostedProtocol]:
    """Start a protocol on a free port of the loopback address, and end it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hosted")
    thread.start()
    host = HostedProtocol(service, loop)
    try:
        host.running = host.run(
            start(service, service.limits, security or Security(), record=host.record, **options)
        )
        try:
            yield host
        finally:
            host.run(host.running.close())
    finally:
        host.run(_cancel_rest())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


async def _cancel_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


@cache
def logits_of(*images: bytes) -> NDArray[np.float32]:
    """Return what the built-in model says of these files, without a server: float32 ``[N, C]``."""
    pixels = np.stack([preprocess(image, builtin_bundle().preprocess) for image in images])
    return np.concatenate([builtin_engine().run(one[None]) for one in pixels])


def scores_of(*images: bytes) -> NDArray[np.float32]:
    """Return the scores of these files, without a server: float32 ``[N, C]``."""
    return softmax(logits_of(*images), builtin_bundle().postprocess.temperature)
