"""One call of gRPC: its deadline, token and trace, and its failure as a status. Messages stay bytes here."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

import numpy as np
from google.protobuf.message import DecodeError
from grpc import StatusCode
from numpy.typing import NDArray

from ghostclas.errors import GhostclasError
from ghostclas.serve.access_log import Record
from ghostclas.serve.aside import LARGE, Aside
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.security import Security
from ghostclas.serve.service import Answer, Request, Service
from ghostclas.serve.tracing import Trace, request_id

_log = logging.getLogger("ghostclas.serve")

P = ParamSpec("P")
Result = TypeVar("Result")

STATUS: Mapping[Kind, StatusCode] = {
    Kind.INVALID: StatusCode.INVALID_ARGUMENT,
    Kind.TOO_LARGE: StatusCode.INVALID_ARGUMENT,
    Kind.NOT_FOUND: StatusCode.NOT_FOUND,
    Kind.FULL: StatusCode.RESOURCE_EXHAUSTED,
    Kind.LATE: StatusCode.DEADLINE_EXCEEDED,
    Kind.DRAINING: StatusCode.UNAVAILABLE,
    Kind.CANCELLED: StatusCode.CANCELLED,
    Kind.FAILED: StatusCode.INTERNAL,
    Kind.UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
    Kind.UNSUPPORTED: StatusCode.UNIMPLEMENTED,
}
"""gRPC's status of each kind of failure."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all calls of a process share. ``record`` is told of each call that ended."""

    service: Service
    limits: Limits
    security: Security
    record: Callable[[Record], None] = lambda record: None
    aside: Aside = field(default_factory=Aside)


class Call:
    """One call.

    Attributes:
        deadline: by ``time.monotonic``: the client's, or the server's limit if that is sooner.
        request_id: the client's ``x-request-id``, or a new one.
        trace: this server's span in the client's trace.
        answered: the service's answer, once there is one.
        failure: what the answer itself tells of a failure, where its status is OK.
    """

    __slots__ = ("_metadata", "_site", "answered", "arrived", "deadline", "failure", "request_id", "trace")

    def __init__(self, site: Site, context: Any) -> None:
        self._site = site
        self._metadata = dict(context.invocation_metadata() or ())
        self.arrived = time.monotonic()
        remaining = context.time_remaining()
        seconds = site.limits.request_seconds
        self.deadline = self.arrived + (seconds if remaining is None else min(seconds, remaining))
        self.request_id = request_id(self._text("x-request-id"))
        self.trace = Trace.following(self._text("traceparent"))
        self.answered: Answer | None = None
        self.failure: Kind | None = None

    @property
    def service(self) -> Service:
        """The models."""
        return self._site.service

    def check_token(self) -> None:
        """Refuse a client without the server's token.

        Raises:
            ServeError: UNAUTHENTICATED.
        """
        if not self._site.security.allows(self._text("authorization")):
            raise ServeError(Kind.UNAUTHENTICATED, "this server wants authorization: Bearer TOKEN")

    async def read(self, size: int, read: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Return what ``read`` makes of a message of ``size`` bytes, a large one beside the event loop.

        Raises:
            ServeError: what ``read`` raises; LATE.
        """
        if size < LARGE:
            return read(*args, **kwargs)
        return await self._site.aside.run(self.deadline, read, *args, **kwargs)

    async def answer(
        self,
        images: Sequence[bytes] | NDArray[np.uint8],
        model: str | None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Ask the service.

        Args:
            images: encoded files, or pixels uint8 ``[N, side, side, 3]``.
            model: its name; None is the first.
            version: of the model; None is the one that is served.
            timeout: seconds since the call's arrival; None is the client's deadline.

        Raises:
            ServeError: see ``Kind``.
        """
        deadline = self.deadline if timeout is None else min(self.deadline, self.arrived + timeout)
        self.answered = await self.service.answer(
            Request(
                images,
                model=model,
                version=version,
                deadline=deadline,
                request_id=self.request_id,
                trace=self.trace.header,
            )
        )
        return self.answered

    def _text(self, key: str) -> str | None:
        value = self._metadata.get(key)
        return value if isinstance(value, str) else None


def parsed(message: Any, data: bytes) -> Any:
    """Return the message that ``data`` holds.

    Raises:
        ServeError: INVALID; the bytes are no such message.
    """
    made = message()
    try:
        made.ParseFromString(data)
    except DecodeError as error:
        name = message.DESCRIPTOR.full_name
        raise ServeError(Kind.INVALID, f"the message is no {name}: {error}") from None
    return made


def unary(
    site: Site, method: str, handler: Callable[[Call, bytes], Awaitable[bytes]], *, open_to_all: bool = False
) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """Return gRPC's function of a method with one request and one answer.

    Args:
        site: what calls share.
        method: its full name, for the log.
        handler: makes the answer; raises ServeError.
        open_to_all: whether it answers without the token.
    """

    async def serve(data: bytes, context: Any) -> bytes:
        call = Call(site, context)
        status, kind, message, sent = StatusCode.OK, "", "", 0
        trailing: Sequence[tuple[str, str]] = ()
        try:
            if not open_to_all:
                call.check_token()
            answer = await handler(call, data)
            sent, kind = len(answer), call.failure.value if call.failure else ""
            return answer
        except ServeError as error:
            status, kind = STATUS[error.kind], error.kind.value
            message, trailing = error.message, _retry(error)
        except asyncio.CancelledError:
            status, kind = StatusCode.CANCELLED, Kind.CANCELLED.value
            raise
        except GhostclasError as error:
            # Such as logits that are not finite: the model is at fault, and the message is for people.
            _log.error("gRPC call %s: %s", call.request_id, error)
            status, kind, message = StatusCode.INTERNAL, Kind.FAILED.value, str(error).partition("\n")[0]
        except Exception:
            _log.exception("gRPC call %s", call.request_id)
            status, kind = StatusCode.INTERNAL, Kind.FAILED.value
            message = "the server failed; its log says why"
        finally:
            answered = call.answered
            site.record(
                Record(
                    protocol="grpc",
                    method=method,
                    status=status.name,
                    kind=kind,
                    seconds=time.monotonic() - call.arrived,
                    request_id=call.request_id,
                    trace_id=call.trace.trace_id,
                    span_id=call.trace.span_id,
                    parent_id=call.trace.parent,
                    model=answered.model.name if answered else "",
                    version=answered.model.version if answered else "",
                    images=len(answered.rows) if answered else 0,
                    received=len(data),
                    sent=sent,
                    peer=_address(context.peer()),
                )
            )
        await context.abort(status, message, trailing)
        raise AssertionError("abort raises")

    return serve


def _retry(error: ServeError) -> Sequence[tuple[str, str]]:
    """Return gRPC's metadata that tell a client when to try again, in milliseconds."""
    if error.retry_after is None:
        return ()
    return (("grpc-retry-pushback-ms", str(math.ceil(1000 * error.retry_after))),)


def _address(peer: str) -> str:
    """Return the address in gRPC's name of a client: ``ipv4:127.0.0.1:5000``, ``ipv6:%5B::1%5D:5000``."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]") or peer
