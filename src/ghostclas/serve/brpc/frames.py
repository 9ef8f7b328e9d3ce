"""The frames of ``baidu_std``: twelve bytes of header, the meta, the message and its attachment."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"PRPC"
HEADER = struct.Struct(">4sII")
"""The magic, the size of all that follows, and how much of that is the meta."""

MAX_META = 1 << 20
"""Bytes of a meta; clients send less than a kilobyte."""


class FrameError(Exception):
    """The bytes are no frames, or a frame is too large: the connection cannot be followed further."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it lies on the wire; ``body`` is what follows the meta, with the attachment."""

    meta: bytes
    body: bytes


class FrameReader:
    """Cuts a stream of bytes into frames. It holds the bytes of the frame that has begun, and not more.

    Args:
        limit: the most bytes of a meta and its body together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and has not ended."""
        return bool(self._buffer)

    @property
    def held(self) -> int:
        """Bytes that wait for the end of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that end in ``data``.

        Raises:
            FrameError: the magic is another, or a size is impossible or too large.
        """
        self._buffer += data
        while len(self._buffer) >= len(MAGIC):
            if not self._buffer.startswith(MAGIC):
                raise FrameError(f"a frame begins with {bytes(self._buffer[:4])!r}")
            if len(self._buffer) < HEADER.size:
                return
            _, size, meta_size = HEADER.unpack_from(self._buffer)
            if size > self._limit:
                raise FrameError(f"a frame of {size} bytes is larger than {self._limit}")
            if meta_size > min(size, MAX_META):
                raise FrameError(f"a meta of {meta_size} bytes in a frame of {size}")
            end = HEADER.size + size
            if len(self._buffer) < end:
                return
            with memoryview(self._buffer) as view:
                middle = HEADER.size + meta_size
                frame = Frame(bytes(view[HEADER.size : middle]), bytes(view[middle:end]))
            del self._buffer[:end]
            yield frame
        if not MAGIC.startswith(bytes(self._buffer)):
            raise FrameError(f"a frame begins with {bytes(self._buffer)!r}")


def write_frame(meta: bytes, body: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return HEADER.pack(MAGIC, len(meta) + len(body), len(meta)) + meta + body
