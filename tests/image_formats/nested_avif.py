"""AVIF files whose boxes lie within each other."""

from __future__ import annotations

import struct


def nested_avif(depth: int) -> bytes:
    """Return an AVIF without a picture, of ``depth`` boxes within each other."""
    brand = struct.pack(">I4s", 28, b"ftyp") + b"avif" + bytes(4) + b"avifmif1miaf"
    return brand + b"".join(struct.pack(">I4s", 8 * left, b"moov") for left in range(depth, 0, -1))
