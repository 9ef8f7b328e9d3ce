"""bRPC's protocol ``baidu_std`` on asyncio: many calls at once on a connection, answered as they are ready.

An answer names its call by the correlation id. What cannot be followed (another magic, an impossible size, a
meta that is none) closes the connection, as bRPC's own server does; all else is answered with a code.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from typing import cast

from ghostclas.errors import GhostclasError
from ghostclas.serve.access_log import Record
from ghostclas.serve.aside import LARGE, Aside
from ghostclas.serve.brpc.checksum import SIZE, checksum
from ghostclas.serve.brpc.compression import CompressionError, unpack
from ghostclas.serve.brpc.frames import FrameError, FrameReader, write_frame
from ghostclas.serve.brpc.meta import CRC32C, NONE, PROTOCOL_BUFFERS, Call, MetaError, read_call, write_answer
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.paddle import general_model
from ghostclas.serve.paddle.pictures import asking
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service
from ghostclas.serve.tracing import Trace, request_id

_log = logging.getLogger("ghostclas.serve")

NO_SERVICE, NO_METHOD, BAD_REQUEST, NO_AUTHORITY, TIMED_OUT = 1001, 1002, 1003, 1004, 1008
INTERNAL, LOGGING_OFF, FULL = 2001, 2003, 2004

CODES: Mapping[Kind, int] = {
    Kind.INVALID: BAD_REQUEST,
    Kind.TOO_LARGE: BAD_REQUEST,
    Kind.UNSUPPORTED: BAD_REQUEST,
    Kind.NOT_FOUND: NO_SERVICE,
    Kind.UNAUTHENTICATED: NO_AUTHORITY,
    Kind.LATE: TIMED_OUT,
    Kind.CANCELLED: TIMED_OUT,
    Kind.FAILED: INTERNAL,
    Kind.DRAINING: LOGGING_OFF,
    Kind.FULL: FULL,
}
"""bRPC's number of each kind of failure (``errno.proto``)."""

_BEARER = b"bearer "

_SHARE = 2
"""The bytes of all calls, in those of the queue: what they hold is base64, and larger than the images."""


class RefusedError(Exception):
    """A call that bRPC itself refuses, before a model is asked."""

    def __init__(self, code: int, message: str, kind: Kind = Kind.INVALID) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.kind = kind


class BrpcServer:
    """What the connections of one process share. ``record`` is told of each call that ended.

    Attributes:
        connections: those that are open.
        buffered: bytes of frames that have not ended.
        calling: bytes of calls that have no answer.
    """

    def __init__(
        self,
        service: Service,
        limits: Limits,
        security: Security,
        record: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.service = service
        self.limits = limits
        self.security = security
        self.record = record
        self.connections: set[BrpcProtocol] = set()
        self.buffered = 0
        self.calling = 0
        self._aside = Aside()

    def protocol(self) -> BrpcProtocol:
        """Return the protocol of one new connection; a transport of another protocol can be given to it."""
        return BrpcProtocol(self)

    async def drain(self, grace: float) -> None:
        """Wait until each call has its answer, for at most ``grace`` seconds; then close the connections."""
        waiting = {call for connection in self.connections for call in connection.calls}
        if waiting:
            await asyncio.wait(waiting, timeout=grace)
        for connection in list(self.connections):
            connection.close_if_idle()

    def close(self) -> None:
        """End all connections at once."""
        for connection in list(self.connections):
            connection.close()

    async def infer(self, call: Call, body: bytes, deadline: float, name: str) -> general_model.Fetched:
        """Answer a call, by ``deadline`` of ``time.monotonic``.

        Raises:
            RefusedError: bRPC refuses it.
            ServeError: the service does.
        """
        self.service.refuse_if_draining()
        self._check(call, body)
        if self.calling > _SHARE * self.limits.queue_bytes:
            raise ServeError(Kind.FULL, "the server holds too many large calls already", retry_after=1.0)
        feed = await self._read(call, body[: len(body) - call.attachment_size], body, deadline)
        ask = asking(self.service, deadline=deadline, request_id=name, trace=call.traceparent)
        return await general_model.infer(self.service, feed, ask)

    def _check(self, call: Call, body: bytes) -> None:
        token = call.authentication
        if token[: len(_BEARER)].lower() == _BEARER:
            token = token[len(_BEARER) :].strip()
        if not self.security.allows_token(token):
            raise RefusedError(
                NO_AUTHORITY, "this server wants a token as authentication_data", Kind.UNAUTHENTICATED
            )
        if not 0 <= call.attachment_size <= len(body):
            raise RefusedError(
                BAD_REQUEST,
                f"attachment_size is {call.attachment_size}, and {len(body)} bytes follow the meta",
            )
        if call.service not in (general_model.SERVICE, general_model.SERVICE.rpartition(".")[2]):
            # As bRPC: only a name without a package is looked up as a service.
            code = NO_METHOD if "." in call.service else NO_SERVICE
            raise RefusedError(
                code, f"no service {call.service[:200]!r}; there is {general_model.SERVICE}", Kind.NOT_FOUND
            )
        if call.method != general_model.METHOD:
            raise RefusedError(
                NO_METHOD, f"no method {call.method[:200]!r}; there is {general_model.METHOD}", Kind.NOT_FOUND
            )
        if call.content_type != PROTOCOL_BUFFERS:
            raise RefusedError(
                BAD_REQUEST, f"content_type {call.content_type} is not taken; use 0, protocol buffers"
            )

    async def _read(self, call: Call, message: bytes, body: bytes, deadline: float) -> general_model.Feed:
        if call.compress == NONE and not call.checksum_type and len(message) < LARGE:
            return general_model.read_message(message)
        return await self._aside.run(deadline, self._unpacked, call, message, body)

    def _unpacked(self, call: Call, message: bytes, body: bytes) -> general_model.Feed:
        if call.checksum_type not in (0, CRC32C):
            raise RefusedError(
                BAD_REQUEST, f"checksum_type {call.checksum_type} is not known; use 1, CRC-32C"
            )
        if call.checksum_type:
            if len(call.checksum) != SIZE:
                raise RefusedError(BAD_REQUEST, f"a checksum has {SIZE} bytes, not {len(call.checksum)}")
            if call.checksum != checksum(body if call.checksum_with_attachment else message):
                raise RefusedError(BAD_REQUEST, "the checksum is not that of the message")
        try:
            return general_model.read_message(unpack(message, call.compress, self.limits.body_bytes))
        except CompressionError as error:
            raise RefusedError(BAD_REQUEST, str(error)) from None


class BrpcProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: BrpcServer) -> None:
        self._server = server
        self._limits = server.limits
        self._reader = FrameReader(server.limits.body_bytes)
        self._calls: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._held = 0
        self._begun: float | None = None
        self._blocked: float | None = None
        self._last = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def calls(self) -> frozenset[asyncio.Task[None]]:
        """The calls that have no answer yet."""
        return frozenset(self._calls)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many connections."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = str(transport.get_extra_info("peername", ("",))[0])
        if len(self._server.connections) >= self._limits.connections:
            self._transport.abort()
            return
        self._server.connections.add(self)
        self._look()

    def connection_lost(self, error: Exception | None) -> None:
        """Cancel what the client no longer waits for."""
        self._server.connections.discard(self)
        self._hold(0)
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            call.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Begin the calls that are whole."""
        self._last = time.monotonic()
        try:
            for frame in self._reader.feed(data):
                self._begun = None
                self._begin(read_call(frame.meta), frame.body)
        except (FrameError, MetaError) as error:
            self._end(str(error))
            return
        if self._reader.inside and self._begun is None:
            self._begun = self._last
        self._hold(self._reader.held)
        if self._server.buffered > self._limits.queue_bytes:
            self._end("the server reads too many large messages already")
        elif self._transport is not None and len(self._calls) >= self._limits.queue_images:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Read no more calls from a client that does not read its answers."""
        self._blocked = time.monotonic()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = None
        self._resume()

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self) -> None:
        """End the connection if every call has its answer."""
        if self._transport is not None and not self._calls:
            self._transport.close()

    def _resume(self) -> None:
        if (
            self._transport is not None
            and not self._transport.is_closing()
            and self._blocked is None
            and len(self._calls) < self._limits.queue_images
        ):
            self._transport.resume_reading()

    def _hold(self, size: int) -> None:
        self._server.buffered += size - self._held
        self._held = size

    def _end(self, reason: str) -> None:
        _log.info("bRPC connection of %s closed: %s", self._peer, reason)
        for call in self._calls:
            call.cancel()
        if self._transport is not None:
            # What was answered still reaches the client; the timer ends one that does not read.
            self._transport.close()
            self._blocked = self._blocked or time.monotonic()

    def _look(self) -> None:
        """End a connection that idles, or whose client sends or reads too slowly; look again when it may."""
        now = time.monotonic()
        if self._blocked is not None:
            ends = self._blocked + self._limits.write_seconds
        elif self._begun is not None:
            ends = self._begun + self._limits.body_seconds
        elif self._calls:
            ends = now + self._limits.idle_seconds
        else:
            ends = self._last + self._limits.idle_seconds
        if now >= ends:
            self.close()
            return
        shortest = min(self._limits.write_seconds, self._limits.body_seconds, self._limits.idle_seconds)
        self._timer = asyncio.get_running_loop().call_later(min(ends - now, shortest), self._look)

    def _begin(self, call: Call, body: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(call, body))
        size = len(body)
        self._calls.add(task)
        self._server.calling += size
        task.add_done_callback(lambda ended: self._ended(ended, size))

    def _ended(self, task: asyncio.Task[None], size: int) -> None:
        self._calls.discard(task)
        self._server.calling -= size
        self._last = time.monotonic()
        self._resume()

    async def _answer(self, call: Call, body: bytes) -> None:
        began = time.monotonic()
        seconds = self._limits.request_seconds
        if call.timeout_ms > 0:
            seconds = min(seconds, call.timeout_ms / 1000)
        name = request_id(call.request_id or (str(call.log_id) if call.log_id else ""))
        code, text, kind, message, fetched = 0, "", "", b"", None
        try:
            fetched = await self._server.infer(call, body, began + seconds, name)
            message = general_model.write_message(fetched)
            if fetched.log_id and not (call.request_id or call.log_id):
                # Paddle's client has its id in the message.
                name = str(fetched.log_id)
        except RefusedError as error:
            code, text, kind = error.code, error.message, error.kind.value
        except ServeError as error:
            code, text, kind = CODES[error.kind], error.message, error.kind.value
        except asyncio.CancelledError:
            code, kind = CODES[Kind.CANCELLED], Kind.CANCELLED.value
            raise
        except GhostclasError as error:
            # Such as logits that are not finite: the model is at fault, and the message is for people.
            _log.error("bRPC call %s: %s", name, error)
            code, text, kind = INTERNAL, str(error).partition("\n")[0], Kind.FAILED.value
        except Exception:
            _log.exception("bRPC call %s", name)
            code, text, kind = INTERNAL, "the server failed; its log says why", Kind.FAILED.value
        finally:
            trace = Trace.following(call.traceparent)
            self._server.record(
                Record(
                    protocol="brpc",
                    method=f"{call.service}.{call.method}",
                    status=str(code),
                    kind=kind,
                    seconds=time.monotonic() - began,
                    request_id=name,
                    trace_id=trace.trace_id,
                    span_id=trace.span_id,
                    parent_id=trace.parent,
                    model=fetched.answer.model.name if fetched else "",
                    version=fetched.answer.model.version if fetched else "",
                    images=len(fetched.answer.rows) if fetched else 0,
                    received=len(body),
                    sent=len(message),
                    peer=self._peer,
                )
            )
        if self._transport is not None:
            summed = checksum(message) if call.checksum_type == CRC32C and message else b""
            meta = write_answer(call.correlation_id, code=code, text=text, checksum=summed)
            self._transport.write(write_frame(meta, message))


class Running:
    """bRPC on a port of its own."""

    def __init__(self, server: BrpcServer, listener: asyncio.Server) -> None:
        self._server = server
        self._listener = listener
        self.port: int = listener.sockets[0].getsockname()[1]

    async def drain(self, grace: float) -> None:
        """Take no more connections; wait until each call has its answer, for at most ``grace`` seconds."""
        self._listener.close()
        await self._server.drain(grace)

    async def close(self) -> None:
        """End at once."""
        self._listener.close()
        self._server.close()


async def start(
    service: Service,
    limits: Limits,
    security: Security,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sock: socket.socket | None = None,
    record: Callable[[Record], None] = lambda record: None,
) -> Running:
    """Serve bRPC on a port of its own, or on ``sock``, which listens already.

    Raises:
        OSError: the port is taken.
    """
    server = BrpcServer(service, limits, security, record)
    context = security.context()
    loop = asyncio.get_running_loop()
    handshake = limits.header_seconds if context is not None else None
    if sock is not None:
        listener = await loop.create_server(
            server.protocol, sock=sock, ssl=context, ssl_handshake_timeout=handshake
        )
    else:
        listener = await loop.create_server(
            server.protocol, host, port, ssl=context, ssl_handshake_timeout=handshake
        )
    return Running(server, listener)
