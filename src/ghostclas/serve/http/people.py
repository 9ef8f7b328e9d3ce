"""``POST /predict``: photos in, the same prediction objects out that the command line and Python give.

A body that is one image gives one object. A multipart body, or JSON with ``images``, gives
``{"predictions": [...]}`` in the order of the images. A photo that cannot be read is a prediction with
``error``, in its place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ghostclas.errors import did_you_mean
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.bodies import from_base64, parse_json
from ghostclas.serve.http.calls import Call
from ghostclas.serve.http.multipart import read_parts
from ghostclas.serve.http.responses import Headers, RefusalError, Response, json_response
from ghostclas.serve.limits import Limits

SETTINGS = ("top", "model", "timeout")
"""What the query may set."""

DEFAULT_TOP = 5
MAX_TOP = 100_000
MAX_SECONDS = 1_000_000

_WHOLE = re.compile(r"[0-9]{1,6}", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,16}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?", re.ASCII)

# What curl --data-binary says of a photo unless it is told otherwise.
_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")


async def predict(call: Call) -> Response:
    """Answer the photos of a request."""
    settings = call.query(SETTINGS)
    top, timeout = _top(settings), _timeout(settings)
    kind = call.content_type
    alone = False
    if kind.startswith("image/") or kind in _RAW:
        body = await call.body()
        if not body:
            raise ServeError(Kind.INVALID, "the body is empty; send an image")
        images: Sequence[bytes] = [body]
        alone = True
    elif kind == "multipart/form-data":
        body = await call.body()
        content_type, limit = call.headers[b"content-type"], call.site.limits.parts
        images = await call.aside(len(body), read_parts, body, content_type, limit)
    elif kind == "application/json":
        body = await call.body()
        images, alone = await call.aside(len(body), _from_json, body, call.site.limits)
    else:
        raise RefusalError(415, f"send an image, multipart/form-data or application/json, not {kind[:100]!r}")
    answer = await call.answer(images, settings.get("model"), None, timeout)
    predictions = answer.predictions(top)
    spent = time.monotonic() - call.arrived
    headers: Headers = (
        *_model_headers(answer.model.name, answer.model.version),
        (b"server-timing", b"total;dur=%.2f" % (1000 * spent)),
    )
    return json_response(predictions[0] if alone else {"predictions": predictions}, headers=headers)


@lru_cache(maxsize=64)
def _model_headers(name: str, version: str) -> Headers:
    return ((b"ghostclas-model", name.encode()), (b"ghostclas-version", version.encode()))


def _from_json(body: bytes, limits: Limits) -> tuple[Sequence[bytes], bool]:
    """Return the images of a JSON body, and whether it is one alone."""
    values, limit = parse_json(body, limits), limits.request_images
    known = ("image", "images")
    for name in values:
        if name not in known:
            raise ServeError(Kind.INVALID, f"the JSON has no {name[:100]!r}{did_you_mean(name[:100], known)}")
    if ("image" in values) == ("images" in values):
        raise ServeError(Kind.INVALID, "the JSON holds 'image', base64 of a file, or 'images', a list of it")
    if "image" in values:
        return [from_base64(values["image"], "image")], True
    texts = values["images"]
    if not isinstance(texts, list) or not texts:
        raise ServeError(Kind.INVALID, "images is a list of at least one string of base64")
    if len(texts) > limit:
        raise ServeError(Kind.TOO_LARGE, f"the request holds {len(texts)} images; the limit is {limit}")
    return [from_base64(text, f"images[{number}]") for number, text in enumerate(texts)], False


def _top(settings: Mapping[str, str]) -> int:
    text = settings.get("top", str(DEFAULT_TOP))
    top = int(text) if _WHOLE.fullmatch(text) else 0
    if not 1 <= top <= MAX_TOP:
        raise ServeError(Kind.INVALID, f"top is a whole number from 1 to {MAX_TOP}, got {text[:100]!r}")
    return top


def _timeout(settings: Mapping[str, str]) -> float | None:
    text = settings.get("timeout")
    if text is None:
        return None
    seconds = float(text) if _SECONDS.fullmatch(text) else 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise ServeError(
            Kind.INVALID, f"timeout is a number of seconds above 0, to {MAX_SECONDS}, got {text[:100]!r}"
        )
    return seconds
