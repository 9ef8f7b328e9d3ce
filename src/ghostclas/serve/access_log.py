"""The access log: one line of JSON for each request.

A thread writes the lines, so that a slow disk or terminal delays no answer. Where lines come faster than they
can be written, the rest is dropped and counted.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

_MOST = 10_000
_PAUSE = 0.05
_ATOMIC = 4096
"""Bytes that a pipe takes as one piece: the lines of several workers do not mix."""
_LONGEST = 200
"""Characters of a path or an id in the log."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one request.

    Attributes:
        protocol: ``http``, ``grpc`` or ``brpc``.
        method: what was asked for: ``POST /predict``, or the full name of a method.
        status: the protocol's own code: ``200``, ``OK``, ``0``.
        kind: of the failure, as in ``failures.Kind``; empty for an answer.
        seconds: from the request's first byte to its answer.
        request_id: the caller's, or this server's.
        trace_id: the trace of which the request is a part.
        span_id: this server's span in it.
        parent_id: the caller's span.
        model: its name, where one answered.
        version: of the model.
        images: how many were answered.
        received: bytes of the body.
        sent: bytes of the answer.
        peer: the client's address.
    """

    protocol: str
    method: str
    status: str
    seconds: float
    kind: str = ""
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    model: str = ""
    version: str = ""
    images: int = 0
    received: int = 0
    sent: int = 0
    peer: str = ""


class AccessLog:
    """Writes records to a text stream, in a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._records: deque[tuple[float, Record | Mapping[str, object]]] = deque()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="ghostclas-access-log", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """Add a record; never waits."""
        if len(self._records) >= _MOST:
            self.dropped += 1
            return
        self._records.append((time.time(), record))
        if not self._wake.is_set():
            self._wake.set()

    def event(self, **fields: object) -> None:
        """Write a line that is no request, such as the one that the server is ready."""
        self._records.append((time.time(), fields))
        self._wake.set()

    def close(self, timeout: float = 5.0) -> None:
        """Write what is left."""
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._closed.is_set() or self._records:
            self._wake.wait()
            # Waking this thread for each line would cost more than writing it.
            self._closed.wait(_PAUSE)
            self._wake.clear()
            lines: list[str] = []
            length = 0
            while self._records:
                line = line_of(*self._records.popleft())
                if length + len(line) > _ATOMIC:
                    self._write(lines)
                    lines, length = [], 0
                lines.append(line)
                length += len(line)
            self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):
            # The reader is gone, or the disk is full: the server answers all the same.
            self.dropped += len(lines)


def line_of(moment: float, record: Record | Mapping[str, object]) -> str:
    """Return the line of a record or an event, with its line break. A record's empty fields are left out."""
    fields: dict[str, object] = {
        "time": datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    }
    if not isinstance(record, Record):
        return json.dumps({**fields, **record}) + "\n"
    fields |= {
        "protocol": record.protocol,
        "method": record.method[:_LONGEST],
        "status": record.status,
        "ms": round(1000 * record.seconds, 2),
    }
    for name in ("kind", "request_id", "trace_id", "span_id", "parent_id", "model", "version", "peer"):
        if value := getattr(record, name):
            fields[name] = value[:_LONGEST]
    for name in ("images", "received", "sent"):
        if value := getattr(record, name):
            fields[name] = value
    # ASCII: no control character of a client reaches a terminal.
    return json.dumps(fields) + "\n"
