"""Ctrl-C and SIGTERM during a run: it ends between two steps, and stores where it is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from ghostclas.errors import Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While it is entered, the first signal waits for the end of a ``held`` block, then raises.

    Ctrl-C raises ``KeyboardInterrupt``, SIGTERM its subclass ``Terminated``. A second signal raises at once.
    Outside the main thread, which alone can handle signals, nothing changes. A signal that the caller ignores
    (``nohup``) stays ignored.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        """The signal that has come, if any."""
        self.at_once = False
        """A second signal came: the weights may be those of half a step."""
        self._held = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait until the block has ended; blocks may be inside each other."""
        outer, self._held = self._held, True
        try:
            yield
        finally:
            self._held = outer
        if self.asked is not None and not outer:
            raise _interrupt(self.asked)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A loader process inherits the handler of the process that trains, which ends it in its own way.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.at_once = self.asked is not None
        self.asked = number
        if not self._held or self.at_once:
            raise _interrupt(number)


def _interrupt(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
