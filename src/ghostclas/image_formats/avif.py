"""The boxes of an AVIF, as far as they say how long libavif looks through its tables.

libavif searches the list of items once for each item, and the list of chunks once for each chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_BOXES = 10_000
MAX_DEPTH = 100
"""The most boxes within each other; a picture has five."""
MAX_TABLE_BYTES = 2**17
"""All tables of items and samples together; those of a picture of 200 tiles take 10,000 bytes."""

_CHILDREN_AT = dict.fromkeys((b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"), 0) | {
    b"meta": 4
}
_TABLES = {b"iinf", b"iloc", b"iref", b"ipma", b"stts", b"stsc", b"stsz", b"stco", b"co64", b"stss", b"ctts"}


def check_tables(data: bytes) -> None:
    """Refuse tables that no picture needs.

    Raises:
        ValueError: there are more boxes than ``MAX_BOXES``, boxes deeper than ``MAX_DEPTH``, or longer
            tables than ``MAX_TABLE_BYTES``.
    """
    total = 0
    for count, (kind, size) in enumerate(_boxes(data, 0, len(data))):
        total += size if kind in _TABLES else 0
        if count >= MAX_BOXES or total > MAX_TABLE_BYTES:
            raise ValueError(f"over {MAX_BOXES:,} boxes, or over {MAX_TABLE_BYTES:,} bytes of tables")


def _boxes(data: bytes, at: int, end: int, depth: int = 1) -> Iterator[tuple[bytes, int]]:
    """Yield kind and size of each box in a part of the file, and of those inside the boxes that matter."""
    if depth > MAX_DEPTH:
        raise ValueError(f"over {MAX_DEPTH} boxes within each other")
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        inner = at + 8
        if size == 1 and at + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, inner)
            inner += 8
        stop = min(at + size, end) if size else end
        yield kind, stop - at
        if kind in _CHILDREN_AT:
            yield from _boxes(data, inner + _CHILDREN_AT[kind], stop, depth + 1)
        # A box that ends before it begins makes libavif stop, too.
        if stop < inner:
            return
        at = stop
