"""Request ids, and the W3C trace context that a caller hands on: https://www.w3.org/TR/trace-context/.

The server is one span of the caller's trace. Its log names the trace and the span, and its answer carries
them, so that a collector can join what the caller and this server wrote.
"""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass
from typing import Self

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_REQUEST_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_ZEROS = "0" * 32
_RANDOM = random.Random(os.urandom(32))  # noqa: S311 - unique, not secret; the system's took 40 us a number


@dataclass(frozen=True, slots=True)
class Trace:
    """This server's span in a trace. ``parent`` is the caller's span, empty where it named none."""

    trace_id: str
    span_id: str
    parent: str
    sampled: bool

    @classmethod
    def following(cls, traceparent: str | None) -> Self:
        """Return a new span of the caller's trace; of a new trace if the header is absent or damaged."""
        found = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
        # Version 00 has nothing after its flags.
        if found and found[2] != _ZEROS and found[3] != _ZEROS[:16] and not (found[1] == "00" and found[5]):
            return cls(found[2], _digits(16), found[3], bool(int(found[4], 16) & 1))
        return cls(_digits(32), _digits(16), "", False)

    @property
    def header(self) -> str:
        """The ``traceparent`` of what this span causes."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def request_id(given: str | None) -> str:
    """Return the caller's id of a request if it fits into one line of a log, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else _digits(16)


def _digits(count: int) -> str:
    return f"{_RANDOM.getrandbits(4 * count):0{count}x}"
