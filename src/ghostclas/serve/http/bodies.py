"""Request bodies: read with limits on size and time, inflated with a limit, and parsed as JSON.

Nothing is trusted: a declared length is checked before a byte is read, a chunked body while it is read, and a
compressed one while it is inflated.
"""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic_core import from_json

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.responses import Receive, RefusalError
from ghostclas.serve.limits import Limits

INFLATE_AT_ONCE = 2**20
"""Bytes that are inflated before other requests get their turn."""

MAX_JSON_CONTAINERS = 2**18
MAX_JSON_VALUES = 2**22
"""64 images of 128 x 128 pixels have fewer, if they are flat."""

_LENGTH = re.compile(rb"[0-9]{1,18}")
_DATA_URI = re.compile(r"data:[\w.+/-]*;base64,")


class DisconnectedError(Exception):
    """The client left before its request was whole; nobody waits for an answer."""


class BodyBudget:
    """The bytes of all bodies that are being read or answered, so that many clients cannot fill the memory.

    A body takes what has come of it, not what it declares: who sends nothing keeps nobody out.
    """

    def __init__(self, capacity: int) -> None:
        self._left = capacity

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Give a body its share, which it returns at the end."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            self._left += lease.taken

    def take(self, count: int) -> None:
        """Take bytes.

        Raises:
            ServeError: FULL.
        """
        if count > self._left:
            raise ServeError(Kind.FULL, "the server reads too many large requests already", retry_after=1.0)
        self._left -= count


class Lease:
    """What one body has of the budget, in bytes."""

    __slots__ = ("_budget", "taken")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.taken = 0

    def grow(self, size: int) -> None:
        """Have ``size`` bytes altogether, or more if there were more before.

        Raises:
            ServeError: FULL.
        """
        if size > self.taken:
            self._budget.take(size - self.taken)
            self.taken = size


async def read_body(headers: dict[bytes, bytes], receive: Receive, limits: Limits, lease: Lease) -> bytes:
    """Return the body of a request, inflated.

    Args:
        headers: of the request, with names in lower case.
        receive: ASGI's; gives the body in pieces.
        limits: ``body_bytes`` for what comes and for what it inflates to, ``body_seconds`` for all of it.
        lease: grows with the body.

    Raises:
        RefusalError: 408 slow, 413 too large, 415 compressed in another way, 400 damaged.
        ServeError: FULL; too much is being read already.
        DisconnectedError: the client left.
    """
    inflater = _inflater(headers.get(b"content-encoding", b""))
    declared = headers.get(b"content-length")
    if declared is not None and (not _LENGTH.fullmatch(declared) or int(declared) > limits.body_bytes):
        raise _too_large(limits)
    pieces: list[bytes] = []
    came = size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                piece: bytes = message.get("body", b"")
                came += len(piece)
                if came > limits.body_bytes:
                    raise _too_large(limits)
                if inflater is None:
                    size += len(piece)
                    pieces.append(piece)
                else:
                    async for part in _inflated(inflater, piece):
                        size += len(part)
                        if size > limits.body_bytes:
                            raise _too_large(limits)
                        lease.grow(came + size)
                        pieces.append(part)
                lease.grow(size)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise RefusalError(408, f"the body did not arrive within {limits.body_seconds:g} s") from None
    if inflater is not None and came and not inflater.eof:
        raise RefusalError(400, "the compressed body breaks off")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def parse_json(data: bytes, limits: Limits) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        ServeError: INVALID; it is no JSON, no object, or nested deeper than ``limits.json_depth``.
            TOO_LARGE; it has more values than a server can afford to read as JSON.
    """
    containers = data.count(b"[") + data.count(b"{")
    # 30 MB of empty lists are 5 seconds and 1 GB.
    if containers > MAX_JSON_CONTAINERS or data.count(b",") > MAX_JSON_VALUES:
        raise ServeError(
            Kind.TOO_LARGE,
            f"the JSON has more than {MAX_JSON_CONTAINERS} lists and objects, or {MAX_JSON_VALUES} values; "
            "send tensors flat or in binary",
        )
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ServeError(Kind.INVALID, f"the body is no JSON: {error}") from None
    if containers > limits.json_depth:
        _check_depth(value, limits.json_depth)
    if not isinstance(value, dict):
        raise ServeError(Kind.INVALID, f"the JSON is one object, got {type(value).__name__}")
    return value


def from_base64(text: object, where: str) -> bytes:
    """Return the bytes of a base64 string; a ``data:`` URI is taken, too.

    Raises:
        ServeError: INVALID; ``where`` says which string.
    """
    if not isinstance(text, str):
        raise ServeError(Kind.INVALID, f"{where} is a string of base64, got {type(text).__name__}")
    prefix = _DATA_URI.match(text)
    data = text[prefix.end() :] if prefix else text
    try:
        # Python takes "=" beyond what is needed.
        if len(data) % 4 or data.endswith("==="):
            raise ValueError("incorrect padding")
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ServeError(Kind.INVALID, f"{where} is no base64: {error}") from None


def _inflater(encoding: bytes) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case b"" | b"identity":
            return None
        case b"gzip" | b"x-gzip" | b"deflate":
            # 32: the first bytes tell gzip from zlib.
            return zlib.decompressobj(32 + zlib.MAX_WBITS)
        case other:
            shown = other[:40].decode("latin-1")
            raise RefusalError(415, f"content-encoding is gzip or deflate, not {shown!r}")


async def _inflated(inflater: zlib._Decompress, piece: bytes) -> AsyncIterator[bytes]:
    part = b""
    while piece or len(part) == INFLATE_AT_ONCE:
        if piece and inflater.eof:
            raise RefusalError(400, "bytes follow the compressed body")
        try:
            part = inflater.decompress(piece, INFLATE_AT_ONCE)
        except zlib.error as error:
            raise RefusalError(400, f"the compressed body is damaged: {error}") from None
        yield part
        piece = inflater.unconsumed_tail or inflater.unused_data
        # Others get their turn: 1 MiB may come of 1 KiB, and 32 MiB of 32.
        await asyncio.sleep(0)


def _check_depth(value: object, limit: int) -> None:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)  # type: ignore[attr-defined]
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise ServeError(Kind.INVALID, f"the JSON is nested deeper than {limit}")


def _too_large(limits: Limits) -> RefusalError:
    return RefusalError(413, f"a body has at most {limits.body_bytes} bytes, also when inflated")
