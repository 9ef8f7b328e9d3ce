"""What the server tells the people who run it: one line a message on standard error."""

from __future__ import annotations

import sys
import time
import traceback

from ghostclas.serve.failures import ServeError
from ghostclas.terminal import printable_message
from ghostclas.volume import Volume, volume

_SECONDS_BETWEEN = 1.0


def note(text: str) -> None:
    """Write one message about the work, unless --quiet was given."""
    if volume() is not Volume.QUIET:
        notice(text)


def notice(text: str) -> None:
    """Write one message that --quiet does not silence: an error, or what is lost."""
    sys.stderr.write(printable_message(text) + "\n")
    sys.stderr.flush()


class FailureReport:
    """Shows why the network failed on an image, at most once a second, and how many others did."""

    def __init__(self) -> None:
        self._next = 0.0
        self._left_out = 0

    def __call__(self, failure: ServeError) -> None:
        """Show the traceback of a failure, or count it."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        self._next = now + _SECONDS_BETWEEN
        cause = failure.__cause__
        shown = "".join(traceback.format_exception(cause)).rstrip() if cause is not None else failure.message
        more = f"\n(and {self._left_out} others since the last such message)" if self._left_out else ""
        self._left_out = 0
        notice(f"error: a request failed: {shown}{more}")
