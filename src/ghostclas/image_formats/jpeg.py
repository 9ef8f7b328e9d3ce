"""What the markers of a JPEG say about the work of decoding it: components and scans."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

MAX_SEGMENTS = 1000
"""A JPEG with more segments before its pixels is no photo; metadata of 64 MB needs no more."""

MAX_PADDING = 65536
"""So many bytes may lie between the segments before the pixels."""

_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_ALONE = {0x01, *range(0xD0, 0xDA)}
_END, _SCAN = 0xD9, 0xDA
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ARITHMETIC = set(range(0xC9, 0xD0))
_ARITHMETIC_WEIGHT = 10
"""An arithmetic code can say almost without bits that a block holds 63 zeros, one after the other."""
_BYTES_PER_BLOCK = 128
"""libjpeg keeps 8 x 8 coefficients of 16 bits."""


@dataclass(frozen=True)
class JpegWork:
    """What decoding takes beyond the pixels.

    Attributes:
        kept_bytes: the coefficients that libjpeg keeps until the last scan; 0 for a file of one scan.
        scans: how many there are, counted no further than the first unless coefficients are kept.
        scanned_blocks: blocks of 8 x 8 pixels of all scans together, each ten times with arithmetic coding; 0
            for a single scan of Huffman codes, which takes at least two bits a block.
    """

    kept_bytes: int
    scans: int
    scanned_blocks: int


def read_work(data: bytes) -> JpegWork:
    """Walk the markers of a JPEG.

    Raises:
        ValueError: the header has too many segments or too much between them.
        IndexError, struct.error: it ends too early.
    """
    frame, blocks, at = 0, dict[int, int](), 2
    padding = scans = scanned = 0
    marker = _MARKER
    for _ in range(MAX_SEGMENTS + 1):
        found = marker.search(data, at)
        if found is None:
            break
        if not scans:
            padding += found.start() - at
            if padding > MAX_PADDING:
                raise ValueError(f"over {MAX_PADDING:,} bytes of padding before its pixels")
        kind, at = found[0][1], found.end()
        if kind in _ALONE:
            if scans and kind == _END:
                break
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if kind in _FRAMES and not frame:
            frame, blocks = kind, _blocks(data, at)
        elif kind == _SCAN:
            parts = data[at + 3 : at + 3 + 2 * data[at + 2] : 2]
            scans += 1
            weight = _ARITHMETIC_WEIGHT if frame in _ARITHMETIC else 1
            scanned += weight * sum(blocks.get(part, 0) for part in parts)
            if frame not in _PROGRESSIVE and len(parts) >= len(blocks) and scans == 1:
                return JpegWork(0, scans, scanned if weight > 1 else 0)
            marker = _MARKER_IN_SCAN
        at += length
    else:
        raise ValueError(f"over {MAX_SEGMENTS:,} segments")
    return JpegWork(sum(blocks.values()) * _BYTES_PER_BLOCK, scans, scanned)


def _blocks(data: bytes, at: int) -> dict[int, int]:
    """Return how many blocks each component of a frame has; ``at`` is where its length lies."""
    height, width, count = struct.unpack_from(">HHB", data, at + 3)
    components = [data[at + 8 + 3 * i : at + 11 + 3 * i] for i in range(count)]
    sampling = {part[0]: (max(part[1] >> 4, 1), max(part[1] & 15, 1)) for part in components}
    widest = max((across for across, _ in sampling.values()), default=1)
    tallest = max((down for _, down in sampling.values()), default=1)
    columns, rows = -(-width // (8 * widest)), -(-height // (8 * tallest))
    return {key: columns * rows * across * down for key, (across, down) in sampling.items()}
