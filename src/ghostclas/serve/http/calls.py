"""One HTTP request, as the handlers see it: its headers, query, body and the way to an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from ghostclas.errors import did_you_mean
from ghostclas.serve.aside import LARGE, Aside
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.bodies import BodyBudget, DisconnectedError, Lease, read_body
from ghostclas.serve.http.responses import Receive, Scope
from ghostclas.serve.limits import Limits
from ghostclas.serve.metrics import Page
from ghostclas.serve.model import ServedModel
from ghostclas.serve.service import Answer, Request, Service
from ghostclas.serve.tracing import Trace, request_id

_MAX_QUERY = 10

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Site:
    """What all requests share."""

    service: Service
    limits: Limits
    budget: BodyBudget
    metrics: Callable[[], Page] | None = None
    secured: bool = False
    large: Aside = field(default_factory=Aside)


class Call:
    """One request.

    Attributes:
        site: what all requests share.
        headers: with names in lower case; of a repeated one, the last.
        arrived: by ``time.monotonic``.
        request_id: the client's ``x-request-id``, or a new one.
        trace: this server's span in the client's trace, or in a new one.
        received: bytes of the body, inflated.
        images: how many the request held.
        answered: the model that answered, once it has.
    """

    __slots__ = (
        *(
            "_lease",
            "_receive",
            "_unread",
            "answered",
            "arrived",
            "headers",
            "images",
            "received",
            "request_id",
        ),
        *("scope", "site", "trace"),
    )

    def __init__(self, site: Site, scope: Scope, receive: Receive, lease: Lease) -> None:
        self.site = site
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.arrived = time.monotonic()
        self.request_id = request_id(self.header(b"x-request-id"))
        self.trace = Trace.following(self.header(b"traceparent"))
        self.received = self.images = 0
        self.answered: ServedModel | None = None
        self._unread = (
            self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers
        )
        self._receive = receive
        self._lease = lease

    def header(self, name: bytes) -> str | None:
        """Return the text of a header, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def path(self) -> str:
        """The path as it was sent, percent-encoded."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return raw.decode("ascii", "replace")

    @property
    def body_is_unread(self) -> bool:
        """Whether the request has a body that was not read to its end."""
        return self._unread

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters; "" if there is none."""
        return (self.header(b"content-type") or "").partition(";")[0].strip().lower()

    def query(self, known: Collection[str]) -> dict[str, str]:
        """Return the query's settings.

        Raises:
            ServeError: INVALID; an unknown one, one twice, or text that is no query.
        """
        raw: bytes = self.scope.get("query_string", b"")
        if not raw:
            return {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_MAX_QUERY,
            )
        except ValueError as error:
            raise ServeError(Kind.INVALID, f"the query cannot be read: {error}") from None
        settings: dict[str, str] = {}
        for name, value in pairs:
            if name not in known:
                near = did_you_mean(name[:100], known)
                raise ServeError(Kind.INVALID, f"the query has no {name[:100]!r}{near}")
            if name in settings:
                raise ServeError(Kind.INVALID, f"the query has {name!r} twice")
            settings[name] = value
        return settings

    async def body(self) -> bytes:
        """Return the body; see ``bodies.read_body``."""
        self.site.service.refuse_if_draining()
        body = await read_body(self.headers, self._receive, self.site.limits, self._lease)
        self._unread = False
        self.received = len(body)
        return body

    async def drop_body(self, seconds: float) -> None:
        """Read and drop what the client still sends, for so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return

    async def aside(self, size: int, read: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Return what ``read`` makes of a body of ``size`` bytes; of a large one, beside the event loop.

        Raises:
            ServeError: LATE; the server's time for a request passed.
        """
        if size < LARGE:
            return read(*args, **kwargs)
        until = self.arrived + self.site.limits.request_seconds
        return await self.site.large.run(until, read, *args, **kwargs)

    async def answer(
        self,
        images: Sequence[bytes] | NDArray[np.uint8],
        model: str | None,
        version: str | None,
        timeout: float | None,
    ) -> Answer:
        """Ask the service; if the client leaves meanwhile, what has not begun is dropped.

        Args:
            images: encoded files, or pixels uint8 ``[N, side, side, 3]``.
            model: its name; None is the first.
            version: of the model; None is the one that is served.
            timeout: seconds since the request's arrival; None is the server's limit.

        Raises:
            ServeError: the service's.
            DisconnectedError: the client left.
        """
        self.images = len(images)
        request = Request(
            images,
            model=model,
            version=version,
            deadline=None if timeout is None else self.arrived + timeout,
            request_id=self.request_id,
            trace=self.trace.header,
        )
        answer = await self.unless_left(self.site.service.answer(request))
        self.answered = answer.model
        return answer

    async def unless_left(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what ``work`` returns; if the client leaves meanwhile, it is cancelled.

        Raises:
            DisconnectedError: the client left.
        """
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise DisconnectedError
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
