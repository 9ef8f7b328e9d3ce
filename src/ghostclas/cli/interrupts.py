"""Ctrl-C ends a verb that only reads, also while a runtime computes.

Python acts on a signal between two of its own instructions. A runtime that computes for an hour has none, and
at the exit Python waits for all threads that compute. So a thread hears of Ctrl-C by itself, gives the verb a
moment to end as it does otherwise, and then ends the process.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = frozenset({"predict", "eval", "compare", "verify", "bench"})
"""Verbs that leave nothing half done. Training, in contrast, may take a while to store where it was."""

SECONDS = 3.0
"""How long a verb may take to end by itself."""

EXIT_CODE = 130


@contextmanager
def ending_with_ctrl_c(verb: str) -> Iterator[None]:
    """While the block runs, let Ctrl-C end the process within ``SECONDS``, for verbs of ``ENDING``."""
    if verb not in ENDING or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, sent = socket.socketpair()
    sent.setblocking(False)
    before = signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(heard,), name="ghostclas-interrupts", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sent.close()


def _wait(heard: socket.socket) -> None:
    with heard:
        while received := heard.recv(16):
            if signal.SIGINT in received:
                time.sleep(SECONDS)
                os._exit(EXIT_CODE)
