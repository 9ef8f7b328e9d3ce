"""Answers in HTTP: one value for each, and the table of statuses. A failure is JSON with ``error``."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic_core import to_json

from ghostclas.serve.failures import Kind, ServeError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"

CLIENT_CLOSED = 499
"""Nobody receives it; logs and metrics count it."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read and dropped, so that its client can read the answer."""

STATUS: dict[Kind, int] = {
    Kind.INVALID: HTTPStatus.BAD_REQUEST,
    Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Kind.CANCELLED: CLIENT_CLOSED,
    Kind.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Kind.UNSUPPORTED: HTTPStatus.NOT_IMPLEMENTED,
    Kind.FULL: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.DRAINING: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.LATE: HTTPStatus.GATEWAY_TIMEOUT,
}


_KINDS = {400: Kind.INVALID.value, 404: Kind.NOT_FOUND.value, 413: Kind.TOO_LARGE.value}
"""What HTTP refuses as the service does; else the status' own name is its kind."""


class RefusalError(Exception):
    """A request that HTTP itself refuses, before a model is asked: its status, message and headers."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. ``kind`` names the error for metrics and logs, "" for a success."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()
    kind: str = ""


def json_response(value: object, *, status: int = 200, headers: Headers = (), kind: str = "") -> Response:
    """Return a value as JSON."""
    return Response(to_json(value), status, headers=headers, kind=kind)


def failure(error: ServeError) -> Response:
    """Return the answer to a designed error, by the table of statuses."""
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()))
    if error.kind is Kind.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    body = to_json({"error": error.message})
    return Response(body, STATUS[error.kind], headers=tuple(headers), kind=error.kind.value)


def refusal(error: RefusalError) -> Response:
    """Return the answer to a request that HTTP refuses."""
    kind = _KINDS.get(error.status) or HTTPStatus(error.status).name.lower()
    body = to_json({"error": error.message})
    return Response(body, error.status, headers=error.headers, kind=kind)


def raw_error(status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a whole HTTP/1.1 answer that closes the connection, for what never became a request."""
    body = to_json({"error": message})
    phrase = HTTPStatus(status).phrase.encode()
    lines = [
        b"HTTP/1.1 %d %b" % (status, phrase),
        *(b"%b: %b" % pair for pair in headers),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def send_response(response: Response, send: Send, extra: Headers = (), *, more: bool = False) -> None:
    """Send a response with ``extra`` headers; with ``more``, an empty piece is still to be sent."""
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        *response.headers,
        *extra,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": more})
