"""The compressed message of a bRPC call, unpacked within a limit. The attachment is never compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ghostclas.serve.brpc import meta

_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15


class CompressionError(Exception):
    """The bytes are not what the meta says, unpack to more than the limit, or nothing here unpacks them."""


def unpack(data: bytes, kind: int, limit: int) -> bytes:
    """Return the message that ``data`` holds, of at most ``limit`` bytes.

    Raises:
        CompressionError: see there.
    """
    unpacker = _UNPACKERS.get(kind)
    if unpacker is None:
        raise CompressionError(
            f"compress_type {kind} is not known here: use 0 (none), 1 (snappy), 2 (gzip) or 3 (zlib)"
        )
    return unpacker(data, limit)


def _as_it_is(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise CompressionError(f"the message has {len(data)} bytes, and {limit} are allowed")
    return data


def _inflate(data: bytes, limit: int, window: int) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        message = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise CompressionError(f"the message does not inflate: {error}") from None
    if len(message) > limit:
        raise CompressionError(f"the message inflates to more than {limit} bytes")
    if not inflater.eof or inflater.unused_data:
        raise CompressionError("the compressed message is cut short, or bytes follow it")
    return message


def _unsnap(data: bytes, limit: int) -> bytes:
    size = _snappy_size(data)
    if size > limit:
        raise CompressionError(f"the message unpacks to {size} bytes, and {limit} are allowed")
    library, call = _snappy()
    try:
        message = call(data, size)
    except Exception as error:  # every library has errors of its own
        raise CompressionError(f"{library} cannot unpack the message: {error}") from None
    if len(message) != size:
        raise CompressionError(f"the message unpacks to {len(message)} bytes and promised {size}")
    return message


def _snappy_size(data: bytes) -> int:
    """Return the size that raw snappy begins with: seven bits a byte, the lowest first."""
    size = 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return size
    raise CompressionError("the compressed message has no size at its beginning")


def _snappy() -> tuple[str, Callable[[bytes, int], bytes]]:
    """Return a library that unpacks snappy, and how it is called."""
    for name, wrap in _SNAPPY_LIBRARIES.items():
        try:
            library = import_module(name)
        except ImportError:
            continue
        return name, wrap(library)
    raise CompressionError("nothing here unpacks snappy: pip install python-snappy, or use gzip")


def _python_snappy(library: Any) -> Callable[[bytes, int], bytes]:
    return lambda data, size: bytes(library.uncompress(data))


def _pyarrow(library: Any) -> Callable[[bytes, int], bytes]:
    return lambda data, size: bytes(library.decompress(data, size, codec="snappy", asbytes=True))


_SNAPPY_LIBRARIES: Mapping[str, Callable[[Any], Callable[[bytes, int], bytes]]] = {
    "snappy": _python_snappy,
    "pyarrow": _pyarrow,
}

_UNPACKERS: Mapping[int, Callable[[bytes, int], bytes]] = {
    meta.NONE: _as_it_is,
    meta.SNAPPY: _unsnap,
    meta.GZIP: lambda data, limit: _inflate(data, limit, _GZIP_WINDOW),
    meta.ZLIB: lambda data, limit: _inflate(data, limit, _ZLIB_WINDOW),
}
