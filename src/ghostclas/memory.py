"""Memory that threads and forked processes share: whoever needs some of it waits until there is enough."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Lock

if sys.platform != "win32":
    import fcntl


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


class ForkLock:
    """A lock that a process shares with its forks: one process has it at a time, all its threads together.

    The system takes it back from a process that ends. A process that was not forked shares it with nobody.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._open, after_in_child=self._reset)

    def _open(self) -> None:
        if self._file is None:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())

    def _reset(self) -> None:
        self._holders = 0
        self._changing = Lock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait until no other process has the lock, and hold it."""
        with self._changing:
            if not self._holders:
                self._lock(held=True)
            self._holders += 1
        try:
            yield
        finally:
            with self._changing:
                self._holders -= 1
                if not self._holders:
                    self._lock(held=False)

    def _lock(self, *, held: bool) -> None:
        # Record locks belong to a process; those of flock would belong to the file that all forks have open.
        if sys.platform != "win32" and self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_EX if held else fcntl.LOCK_UN)


def return_freed() -> None:
    """Return to the system what this process has freed.

    glibc keeps freed blocks of up to 32 MB for the thread that freed them. After large images, that is 100 MB
    for each thread. Other systems return such blocks by themselves, or have no call for it.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
