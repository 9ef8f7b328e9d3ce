"""Reading large messages beside the event loop, so that other requests go on meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ghostclas.serve.failures import Kind, ServeError

LARGE = 1 << 18
"""Bytes from which a message is worth the way to another thread and back."""

P = ParamSpec("P")
Result = TypeVar("Result")


class Aside:
    """Runs a few calls at once in threads. More would be no faster, and each holds its message."""

    def __init__(self, at_once: int = 4) -> None:
        self._places = asyncio.Semaphore(at_once)

    async def run(
        self, deadline: float, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """Return what ``call`` returns, by ``deadline`` of ``time.monotonic``.

        Raises:
            ServeError: LATE: the deadline passed first.
        """
        try:
            async with asyncio.timeout(deadline - time.monotonic()), self._places:
                return await asyncio.to_thread(call, *args, **kwargs)
        except TimeoutError:
            raise ServeError(Kind.LATE, "the deadline passed before the message was read") from None
