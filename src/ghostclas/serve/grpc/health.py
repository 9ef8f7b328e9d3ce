"""gRPC's standard health service: https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc import StatusCode

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.grpc.calls import Call, Site, parsed
from ghostclas.serve.grpc.messages import INFERENCE, health

NAMES = ("", INFERENCE)
"""What has a health: the server as a whole, and its inference."""

_SECONDS = 0.5
"""How often a watched server is looked at."""

_Response = health["HealthCheckResponse"]
_Status = _Response.ServingStatus


async def check(call: Call, data: bytes) -> bytes:
    """Answer whether a service answers requests.

    Raises:
        ServeError: NOT_FOUND; there is no such service.
    """
    name = parsed(health["HealthCheckRequest"], data).service
    if name not in NAMES:
        raise ServeError(
            Kind.NOT_FOUND, f"no service {name[:100]!r} has a health; ask for {INFERENCE!r} or ''"
        )
    return _written(_status(call.service.ready))


async def every(call: Call, data: bytes) -> bytes:
    """Answer for all services."""
    parsed(health["HealthListRequest"], data)
    response = health["HealthListResponse"]()
    for name in NAMES:
        response.statuses[name].status = _status(call.service.ready)
    return bytes(response.SerializeToString())


def watch(site: Site) -> Any:
    """Return gRPC's function of ``Watch``: the health now and at each change, until the server drains."""

    async def serve(data: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            name = parsed(health["HealthCheckRequest"], data).service
        except ServeError as error:
            await context.abort(StatusCode.INVALID_ARGUMENT, error.message)
        told = None
        while True:
            now = _status(site.service.ready) if name in NAMES else _Status.Value("SERVICE_UNKNOWN")
            if now != told:
                yield _written(now)
                told = now
            elif site.service.draining:
                return
            else:
                await asyncio.sleep(_SECONDS)

    return serve


def _status(ready: bool) -> int:
    return int(_Status.Value("SERVING" if ready else "NOT_SERVING"))


def _written(status: int) -> bytes:
    return bytes(_Response(status=status).SerializeToString())
