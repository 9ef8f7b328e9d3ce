"""uvicorn's HTTP/1.1 with bounds on what it leaves open, and the way to another protocol on the same port.

uvicorn reads headers of any size, for as long as the client likes, and waits for readers of its answers
without end. Here a header that is too large gets 431, one that is too slow 408, an idle or stalled connection
is closed, and a connection beyond the limit gets 503. Every answer is JSON with ``error``.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ghostclas.serve.http.responses import LINGER_SECONDS, raw_error
from ghostclas.serve.limits import Limits

BRPC_MAGIC = b"PRPC"
"""The first bytes of bRPC's ``baidu_std``; no method of HTTP begins so."""


_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def _without_upgrade(piece: bytes) -> bytes:
    """Return a piece of a request without the wish for another protocol in its header.

    Java's client asks for HTTP/2 so, with every request. Nobody has to grant it, but the parser would take
    the body for the other protocol's.
    """
    header, end, rest = piece.partition(b"\r\n\r\n")
    return b"".join([_UPGRADE.sub(b"\r\nx-upgrade:", header), end, rest])


class BoundedProtocol(HttpToolsProtocol):
    """One connection. ``limits`` bounds it; ``brpc`` makes the protocol that takes it if it speaks bRPC."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        brpc: Callable[[], asyncio.Protocol] | None = None,
        **named: Any,
    ) -> None:
        super().__init__(*args, **named)
        self._limits = limits
        self._brpc = brpc
        self._first: bytes | None = b""
        self._in_header = True
        self._too_large = self._refused = False
        self._header_bytes = 0
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it if there are too many."""
        super().connection_made(transport)
        # A head and a body are two packets. asyncio lets the second wait 40 ms for the first one's receipt,
        # unless the listening socket was made with proto=IPPROTO_TCP.
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # No answer waits for a reader without the timer of pause_writing. With high=0, TLS never resumes.
        transport.set_write_buffer_limits(high=1, low=0)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, f"there are {self._limits.connections} connections already", linger=False)
        else:
            self._reading = self.loop.call_later(self._limits.idle_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop(self._reading)
        self._stop(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a header within its bounds, then whatever follows."""
        if self._refused:
            return
        if self._first is not None:
            data = self._first + data
            if self._brpc is not None:
                if data.startswith(BRPC_MAGIC):
                    self._hand_over(self._brpc(), data)
                    return
                if BRPC_MAGIC.startswith(data):
                    if not self._first:
                        self._await_header()
                    self._first = data
                    return
            self._first = None
        while data and not self._refused and not self.transport.is_closing():
            if not self._in_header:
                super().data_received(data)
                return
            if not self._header_bytes:
                self._await_header()
            # A byte more than is allowed shows that the header is too large, whatever follows.
            room = self._limits.header_bytes + 1 - self._header_bytes
            piece, data = data[:room], data[room:]
            self._header_bytes += len(piece)
            super().data_received(_without_upgrade(piece))
            if self._in_header and self._header_bytes > self._limits.header_bytes:
                self._too_large = True
                self.send_400_response("")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the lines of a header."""
        super().on_header(name, value)
        if len(self.headers) > self._limits.header_lines:
            self._too_large = True
            raise ValueError("too many lines")

    def on_headers_complete(self) -> None:
        """Begin the request."""
        if self.parser.should_upgrade():
            # CONNECT, or an upgrade that came in pieces: its body would be lost.
            raise ValueError("an upgrade")
        self._stop(self._reading)
        self._in_header = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next request's header."""
        super().on_message_complete()
        self._in_header = True
        self._header_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in place of uvicorn's plain text."""
        if self._too_large:
            size, lines = self._limits.header_bytes, self._limits.header_lines
            self._refuse(431, f"a header has at most {size} bytes in {lines} lines")
        else:
            self._refuse(400, "this is no HTTP/1.1 request")

    def pause_writing(self) -> None:
        """Give a reader its time."""
        super().pause_writing()
        self._stop(self._writing)
        self._writing = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Forget that the reader was slow."""
        self._stop(self._writing)
        super().resume_writing()

    def _await_header(self) -> None:
        self._stop(self._reading)
        seconds = self._limits.header_seconds
        self._reading = self.loop.call_later(
            seconds, self._refuse, 408, f"the header did not arrive within {seconds:g} s"
        )

    def _refuse(self, status: int, message: str, *, linger: bool = True) -> None:
        """Answer what never became a request, and read nothing more."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop(self._reading)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body or cycle.response_started:
                # What was asked before has its answer first, which is the last.
                cycle.keep_alive = False
                return
            # The body itself is damaged, and whoever waits for it gets no more.
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(raw_error(status, message, self.server_state.default_headers))
        if not linger or not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closed at once, with bytes unread, TCP would take the answer back.
        self.transport.write_eof()
        self._reading = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _hand_over(self, protocol: asyncio.Protocol, data: bytes) -> None:
        self._stop(self._reading)
        self.connections.discard(self)
        self.transport.set_write_buffer_limits()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
