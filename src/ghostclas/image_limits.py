"""What decoding an image takes, known before its pixels are decoded, and which images are refused for it.

A small file may promise many pixels. A real photo has some bytes for each of its pixels, so the memory that a
file may take grows with its size.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image

from ghostclas.errors import ImageError
from ghostclas.image_formats import jpeg

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

ORDINARY_BYTES = 10_000_000
"""A file of at most this size may take what is below; a larger one takes more, in proportion."""

MEMORY = 400_000_000
"""The memory of one image while it is decoded, in bytes."""

MAX_SCANNED_BLOCKS = 40_000_000
"""The 8 x 8 blocks of all scans of a JPEG together."""

MAX_PNG_BYTES = 150_000_000
"""The rows of a PNG, which are unpacked and filtered byte by byte."""

MAX_LZMA_BYTES = 150_000_000
"""The pixels of a TIFF with LZMA, the slowest of its compressions."""

MAX_SIDE = 10_000_000
"""Pillow takes eight bytes for each row beside its pixels, and decoders count the bits of a row."""

MAX_SCANS = 100
"""The scans of a JPEG of any size; encoders write about ten."""

MAX_PYTHON_SIZE = 3_000_000
"""The pixels, and the bytes, of a file that Pillow decodes in Python (BMP with run-length coding)."""

RGB_BYTES = 4
"""Pillow keeps a pixel of RGB in four bytes."""

_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_WIDE = 4
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH = 258, 277, 278, 322, 323
_DEEP_GREY = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_DECODER_BYTES = {"WebP": 12, "AVIF": 12, "HEIC": 12}
"""What the libraries take for each pixel beside the image, with the copy that they hand over."""

_KEPT_BYTES = {"WebP": 8, "AVIF": 4, "HEIC": 4}
"""How much of that stays while the image is converted."""


def check_file(name: str, kind: str, data: bytes) -> int:
    """Refuse a file that would be slow to open or to decode; call it before ``image_files.open_image``.

    Returns:
        The memory that its decoder keeps of the whole image beside the pixels, as far as its markers tell.

    Raises:
        ImageError: ``too_large``.
        ValueError, IndexError, struct.error: the file is damaged, see ``jpeg.read_work``.
    """
    if kind != "JPEG":
        return 0
    work, allowed = jpeg.read_work(data), _in_proportion(MAX_SCANNED_BLOCKS, data)
    if work.scans > MAX_SCANS or work.scanned_blocks > allowed:
        raise ImageError(
            "too_large",
            f"{name} is a JPEG of {work.scans:,} scans with {work.scanned_blocks:,} blocks, the limits for a "
            f"file of its size are {MAX_SCANS:,} and {allowed:,}; save it again",
        )
    return work.kept_bytes


def check_image(
    name: str,
    kind: str,
    image: ImageFile,
    data: bytes,
    *,
    full_size: tuple[int, int],
    buffers: int,
    turned: bool,
) -> int:
    """Refuse an image that takes more memory or work than a file of its size may.

    Args:
        name: how to call it.
        kind: a key in ``image_files.FORMATS``.
        image: opened, not yet loaded; a JPEG has the size at which it will be decoded.
        data: the file.
        full_size: the width and height that the file has.
        buffers: what ``check_file`` returned.
        turned: it will be turned upright.

    Returns:
        The memory that decoding takes at its peak, in bytes, with all copies but the caller's of the file.

    Raises:
        ImageError: ``too_large``.
    """
    what = f"{name} has {full_size[0]} x {full_size[1]} pixels in {len(data):,} bytes"
    pixels = image.width * image.height
    if any(tile[0] in Image.DECODERS for tile in image.tile):
        if max(pixels, len(data)) > MAX_PYTHON_SIZE:
            raise ImageError(
                "too_large",
                f"{what} with run-length coding, the limit of both is {MAX_PYTHON_SIZE:,}; save it as PNG",
            )
    elif kind == "PNG":
        rows, allowed = _png_bytes(data), _in_proportion(MAX_PNG_BYTES, data)
        if rows > allowed:
            raise ImageError(
                "too_large",
                f"{what}, which unpack to {rows // 10**6:,} MB, the limit for a PNG of its size is "
                f"{allowed // 10**6:,} MB; make it smaller first, or save it as JPEG",
            )
    elif image.info.get("compression") == "lzma":
        unpacked, allowed = pixels * _tiff_pixel_bits(image) // 8, _in_proportion(MAX_LZMA_BYTES, data)
        if unpacked > allowed:
            raise ImageError(
                "too_large",
                f"{what}, which unpack to {unpacked // 10**6:,} MB, the limit for LZMA is "
                f"{allowed // 10**6:,} MB; save it with another compression",
            )
    if max(full_size) > MAX_SIDE:
        raise ImageError("too_large", f"{what}, the limit of a side is {MAX_SIDE:,}")
    native = _MODE_BYTES.get(image.mode, _WIDE)
    kept = native + _KEPT_BYTES.get(kind, 0)
    buffers += _tiff_buffer(image) if kind == "TIFF" else 0
    decoded = pixels * (native + _DECODER_BYTES.get(kind, 0)) + buffers
    converted = pixels * (kept + conversion_bytes(image))
    upright = pixels * (2 * RGB_BYTES + kept - native) if turned else 0
    needed, allowed = max(decoded, converted, upright), _in_proportion(MEMORY, data)
    if needed > allowed:
        raise ImageError(
            "too_large",
            f"{what}: to decode this {kind} takes {needed // 10**6:,} MB of memory, the limit for a file of "
            f"its size is {allowed // 10**6:,} MB; make it smaller first, or save it as JPEG",
        )
    return needed + 2 * len(data)


def conversion_bytes(image: Image.Image) -> int:
    """Return what ``imaging`` takes for each pixel to make the image RGB, beside the image itself."""
    if image.mode in _DEEP_GREY:
        return 1 + RGB_BYTES
    if image.has_transparency_data:
        return RGB_BYTES if image.mode == "RGBA" else 2 * RGB_BYTES
    return 0 if image.mode == "RGB" else RGB_BYTES


def _in_proportion(limit: int, data: bytes) -> int:
    return max(limit, limit * len(data) // ORDINARY_BYTES)


def _png_bytes(data: bytes) -> int:
    """Return the size of all rows; a PNG that could be opened has one header, in its first chunk."""
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return int(height * (1 + width * bits * _PNG_CHANNELS.get(colour, 1) // 8))


def _tiff_buffer(image: ImageFile) -> int:
    """Return how much libtiff unpacks at a time; Pillow reads an uncompressed TIFF row by row."""
    if not getattr(image, "use_load_libtiff", False):
        return 0
    tags = _tiff_tags(image)
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0)
    strip = image.width * min(tags.get(_ROWS_PER_STRIP, image.height), image.height)
    return int((tile or strip) * _tiff_pixel_bits(image) // 8)


def _tiff_pixel_bits(image: ImageFile) -> int:
    tags = _tiff_tags(image)
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    return int(max(len(bits), tags.get(_SAMPLES_PER_PIXEL, 1)) * max(bits))


def _tiff_tags(image: ImageFile) -> Mapping[int, Any]:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags
