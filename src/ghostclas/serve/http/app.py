"""The ASGI application: routes, who may ask, the answers, and what is counted and logged of them.

It is plain ASGI, without a framework: the routes are few, and the hot ones cost nothing but their work. It
runs under uvicorn with ``protocol.BoundedProtocol`` (see ``server``), and under any other ASGI server without
these bounds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

from ghostclas.errors import GhostclasError
from ghostclas.serve.access_log import Record
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http import oip, paddle, people, site
from ghostclas.serve.http.bodies import BodyBudget, DisconnectedError
from ghostclas.serve.http.calls import Call, Site
from ghostclas.serve.http.responses import (
    CLIENT_CLOSED,
    LINGER_SECONDS,
    Headers,
    Receive,
    RefusalError,
    Response,
    Scope,
    Send,
    failure,
    refusal,
    send_response,
)
from ghostclas.serve.limits import Limits
from ghostclas.serve.metrics import Page
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service

Handler: TypeAlias = Callable[..., Awaitable[Response]]
Methods: TypeAlias = Mapping[str, Handler]

_log = logging.getLogger("ghostclas.serve")

_GONE = Response(b"", CLIENT_CLOSED, kind=Kind.CANCELLED.value)

_CLOSE = (b"connection", b"close")
_ALWAYS: Headers = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def _get(handler: Handler) -> Methods:
    return {"GET": handler, "HEAD": handler}


_MODEL: Mapping[str, Methods] = {
    "": _get(oip.model_metadata),
    "ready": _get(oip.model_ready),
    "infer": {"POST": oip.infer},
}
"""What follows ``/v2/models/NAME`` or ``/v2/models/NAME/versions/VERSION``."""

_FIXED: Mapping[str, Methods] = {
    "/": _get(site.page),
    "/page/app.js": _get(site.script),
    "/page/style.css": _get(site.style),
    "/page/icon.svg": _get(site.icon),
    "/predict": {"POST": people.predict},
    "/GeneralModelService/inference": {"POST": paddle.general_model},
    "/models": _get(site.models),
    "/status": _get(site.status),
    "/metrics": _get(site.metrics),
    "/openapi.json": _get(site.openapi),
    "/v2": _get(oip.server_metadata),
    "/v2/": _get(oip.server_metadata),
    "/v2/health/live": _get(oip.live),
    "/v2/health/ready": _get(oip.ready),
}

_PUBLIC = frozenset(
    ("/", "/page/app.js", "/page/style.css", "/page/icon.svg", "/v2/health/live", "/v2/health/ready")
)
"""Paths that need no token: the page, which asks for it, and what a load balancer looks at."""

_REFUSED = frozenset(
    ("repository", "systemsharedmemory", "cudasharedmemory", "xpusharedmemory", "trace", "logging")
)
_REFUSED_OF_MODEL = frozenset(("config", "stats", "trace", "generate", "generate_stream"))


class App:
    """The application of one service.

    Args:
        service: what answers.
        limits: of headers and bodies; the service's if None.
        security: who may ask; TLS is the server's.
        metrics: gives the page of ``/metrics``, if there is one.
        record: called with what became of each request.
    """

    def __init__(
        self,
        service: Service,
        limits: Limits | None = None,
        *,
        security: Security | None = None,
        metrics: Callable[[], Page] | None = None,
        record: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._security = security or Security()
        self._record = record
        limits = limits or service.limits
        self._site = Site(
            service,
            limits,
            # The largest body fits, also while it is inflated.
            BodyBudget(max(limits.queue_bytes, 2 * limits.body_bytes)),
            metrics,
            secured=self._security.token is not None,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            with self._site.budget.lease() as lease:
                await self._answer(Call(self._site, scope, receive, lease), send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, call: Call, send: Send) -> None:
        response = await self._response(call)
        if response is _GONE:
            self._count(call, response)
            return
        extra: Headers = (
            (b"x-request-id", call.request_id.encode()),
            (b"traceparent", call.trace.header.encode()),
            *_ALWAYS,
        )
        unread = call.body_is_unread
        if unread or self._site.service.draining:
            extra = (*extra, _CLOSE)
        await send_response(response, send, extra, more=unread)
        self._count(call, response)
        if unread:
            # Closed at once, with bytes unread, TCP would take the answer back. Who is slow has had its time.
            if response.status != HTTPStatus.REQUEST_TIMEOUT:
                await call.drop_body(LINGER_SECONDS)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _response(self, call: Call) -> Response:
        try:
            handler, parts = self._route(call)
            return await handler(call, *parts)
        except ServeError as error:
            return failure(error)
        except RefusalError as error:
            return refusal(error)
        except DisconnectedError:
            return _GONE
        except asyncio.CancelledError:
            raise
        except GhostclasError as error:
            # Such as logits that are not finite: the model is at fault, and the message is for people.
            _log.error("request %s: %s", call.request_id, error)
            return failure(ServeError(Kind.FAILED, str(error).partition("\n")[0]))
        except Exception:
            _log.exception("request %s", call.request_id)
            return failure(ServeError(Kind.FAILED, "the server failed; its log says why"))

    def _route(self, call: Call) -> tuple[Handler, tuple[str, ...]]:
        path: str = call.path
        if path not in _PUBLIC and not self._security.allows(call.header(b"authorization")):
            raise ServeError(Kind.UNAUTHENTICATED, "send the header 'Authorization: Bearer TOKEN'")
        methods, parts = _find(path)
        handler = methods.get(call.scope["method"])
        if handler is None:
            allowed = ", ".join(sorted(methods))
            method = call.scope["method"]
            raise RefusalError(
                405, f"{path[:100]} takes {allowed}, not {method}", ((b"allow", allowed.encode()),)
            )
        return handler, parts

    def _count(self, call: Call, response: Response) -> None:
        client = call.scope.get("client")
        model = call.answered
        record = Record(
            protocol="http",
            method=f"{call.scope['method']} {call.path}",
            status=str(response.status),
            seconds=time.monotonic() - call.arrived,
            kind=response.kind,
            request_id=call.request_id,
            trace_id=call.trace.trace_id,
            span_id=call.trace.span_id,
            parent_id=call.trace.parent,
            model=model.name if model else "",
            version=model.version if model else "",
            images=call.images if model else 0,
            received=call.received,
            sent=len(response.body),
            peer=client[0] if client else "",
        )
        self._record(record)


def _find(path: str) -> tuple[Methods, tuple[str, ...]]:
    """Return the methods of a path, not decoded yet, and what it names.

    Raises:
        RefusalError: 404.
    """
    if (fixed := _FIXED.get(path)) is not None:
        return fixed, ()
    # Split first: a name may hold an encoded slash.
    try:
        match [unquote(part, errors="strict") for part in path.split("/")[1:]]:
            case ["v2", first, *rest] if first in _REFUSED or [first, *rest] == ["models", "stats"]:
                return _any(oip.refused), ()
            case [pipeline, "prediction"] if pipeline:
                return {"POST": paddle.pipeline}, (pipeline,)
            case ["v2", "models", name, "versions", version, *rest]:
                parts: tuple[str, ...] = (name, version)
            case ["v2", "models", name, *rest]:
                parts = (name,)
            case _:
                raise RefusalError(404, f"there is nothing at {path[:100]}")
    except UnicodeDecodeError:
        raise RefusalError(404, f"there is nothing at {path[:100]}") from None
    action = rest[0] if rest else ""
    if action in _REFUSED_OF_MODEL:
        return _any(oip.refused), ()
    if len(rest) > 1 or action not in _MODEL or not name:
        raise RefusalError(404, f"there is nothing at {path[:100]}")
    return _MODEL[action], parts


def _any(handler: Handler) -> Methods:
    return dict.fromkeys(("GET", "HEAD", "POST"), handler)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
