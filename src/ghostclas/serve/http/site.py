"""What the server says of itself: the page, models, state, metrics and the OpenAPI document."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http import openapi as document
from ghostclas.serve.http.calls import Call
from ghostclas.serve.http.responses import Headers, Response, json_response

_FOLDER = Path(__file__).parent / "page"

# Scripts, styles and requests of this server alone; photos are shown from memory.
_PAGE_HEADERS: Headers = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"permissions-policy", b"camera=(self), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


async def page(call: Call) -> Response:
    """Give the page for people."""
    return _file("index.html", b"text/html; charset=utf-8")


async def script(call: Call) -> Response:
    """Give the page's script."""
    return _file("app.js", b"text/javascript; charset=utf-8")


async def style(call: Call) -> Response:
    """Give the page's style."""
    return _file("style.css", b"text/css; charset=utf-8")


async def icon(call: Call) -> Response:
    """Give the page's icon."""
    return _file("icon.svg", b"image/svg+xml")


async def models(call: Call) -> Response:
    """List the models, the default first."""
    service = call.site.service
    found = [service.model(name) for name in service.names]
    return json_response(
        {
            "models": [
                {
                    "name": model.name,
                    "version": model.version,
                    "classes": len(model.classes),
                    "side": model.side,
                    "engine": model.engine,
                    "precision": model.precision,
                }
                for model in found
            ]
        }
    )


async def status(call: Call) -> Response:
    """Say whether requests are answered, how many wait, and what is accepted."""
    service, limits = call.site.service, call.site.limits
    return json_response(
        {
            "ready": service.ready,
            "queue": {"images": service.waiting, "bytes": service.waiting_bytes, "requests": service.pending},
            "limits": {
                "body_bytes": limits.body_bytes,
                "queue_images": limits.queue_images,
                "request_images": limits.request_images,
            },
        }
    )


async def metrics(call: Call) -> Response:
    """Give the metrics in Prometheus' text format."""
    if call.site.metrics is None:
        raise ServeError(Kind.NOT_FOUND, "this server counts nothing")
    found = call.site.metrics()
    return Response(found.content, content_type=found.content_type.encode())


async def openapi(call: Call) -> Response:
    """Give the OpenAPI document."""
    return json_response(
        document.document(call.site.service.names, call.site.limits, secured=call.site.secured)
    )


@cache
def _file(name: str, content_type: bytes) -> Response:
    return Response((_FOLDER / name).read_bytes(), content_type=content_type, headers=_PAGE_HEADERS)
