"""Reading beside the event loop: the loop goes on, the deadline holds, and few are read at once."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from ghostclas.serve.aside import Aside
from ghostclas.serve.failures import Kind, ServeError
from tests.serve.served import SECONDS


def later(seconds: float = SECONDS) -> float:
    return time.monotonic() + seconds


def test_the_result_and_the_error_of_the_call() -> None:
    async def both() -> None:
        aside = Aside()
        assert await aside.run(later(), divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await aside.run(later(), divmod, 7, 0)

    asyncio.run(both())


def test_the_loop_goes_on_and_no_more_than_some_run_at_once() -> None:
    running, most, gate = [0], [0], threading.Event()
    lock = threading.Lock()

    def read() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        assert gate.wait(SECONDS)
        with lock:
            running[0] -= 1

    async def all_of_them() -> None:
        aside = Aside(2)
        calls = [asyncio.ensure_future(aside.run(later(), read)) for _ in range(5)]
        while running[0] < 2:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*calls)

    asyncio.run(all_of_them())
    assert most[0] == 2


def test_a_deadline_that_passes_while_it_waits_is_late() -> None:
    gate = threading.Event()

    async def wait() -> None:
        aside = Aside(1)
        first = asyncio.ensure_future(aside.run(later(), gate.wait, SECONDS))
        await asyncio.sleep(0)
        with pytest.raises(ServeError) as caught:
            await aside.run(later(0.01), divmod, 1, 1)
        assert caught.value.kind is Kind.LATE
        gate.set()
        assert await first

    asyncio.run(wait())
