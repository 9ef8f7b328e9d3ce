"""Memory that threads share: whoever needs some of it waits until there is enough."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Lock


class MemoryBudget:
    """A number of bytes that all threads of this process share, first come, first served.

    It counts what its users say that they need; it allocates nothing.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._reset()
        if hasattr(os, "register_at_fork"):
            # The threads that hold a part do not exist in a forked process, and never give it back.
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._free = self._size
        self._turn = Lock()
        self._returned = Condition(Lock())

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Wait until ``count`` bytes are free and hold them; more than there are means all of them.

        A thread must not hold twice at a time: it would wait for itself.
        """
        count = min(count, self._size)
        # Whoever waits keeps the turn: small holders that come later do not overtake a large one for ever.
        with self._turn, self._returned:
            while self._free < count:
                self._returned.wait()
            self._free -= count
        try:
            yield
        finally:
            with self._returned:
                self._free += count
                self._returned.notify()


def return_freed() -> None:
    """Return to the system what this process has freed.

    glibc keeps freed blocks of up to 32 MB for the thread that freed them. After large images, that is 100 MB
    for each thread. Other systems return such blocks by themselves, or have no call for it.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
