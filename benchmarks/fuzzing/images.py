"""Images: small files of every kind that each format has, and preprocessing as ``predict`` does it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from fuzzing.mutation import repair_png, scramble
from fuzzing.target import Target
from ghostclas.imaging import preprocess
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.images import animation, encode, exif, photo

_SPEC = PreprocessSpec(resize=ResizeSpec(short_side=256), crop=224)
_PIXELS = photo(50, 40)
_IMAGE = Image.fromarray(_PIXELS)


def _in_modes(file_format: str, modes: Sequence[str], **options: Any) -> list[bytes]:
    return [encode(_IMAGE.convert(mode), file_format, **options) for mode in modes]


def _jpegs(_folder: Path) -> list[bytes]:
    return [
        *_in_modes("JPEG", ("RGB", "L", "CMYK")),
        encode(_IMAGE, "JPEG", progressive=True),
        encode(_IMAGE, "JPEG", subsampling=0, restart_marker_blocks=2, exif=exif(6)),
        encode(photo(700, 600), "JPEG", quality=30),
    ]


def _pngs(_folder: Path) -> list[bytes]:
    return [
        *_in_modes("PNG", ("RGB", "L", "1", "P", "RGBA", "LA")),
        encode(Image.fromarray(photo(30, 30)[..., 0].astype(np.uint16) * 257), "PNG"),
        encode(_IMAGE.convert("P"), "PNG", transparency=3, bits=4),
        encode(_IMAGE, "PNG", exif=exif(8), dpi=(72, 72)),
        animation("PNG", _PIXELS, _PIXELS[::-1]),
    ]


def _webps(_folder: Path) -> list[bytes]:
    return [
        *_in_modes("WebP", ("RGB", "RGBA")),
        *_in_modes("WebP", ("RGB", "RGBA"), lossless=False, quality=50, exif=exif(3)),
        animation("WebP", _PIXELS, _PIXELS[::-1]),
    ]


def _gifs(_folder: Path) -> list[bytes]:
    return [
        *_in_modes("GIF", ("RGB", "L", "1")),
        encode(_IMAGE.convert("P"), "GIF", transparency=2, interlace=0, comment=b"a comment"),
        animation("GIF", _PIXELS, _PIXELS[::-1]),
    ]


def _bmps(_folder: Path) -> list[bytes]:
    return [*_in_modes("BMP", ("RGB", "L", "1", "P", "RGBA")), _run_lengths(1, 8), _run_lengths(2, 4)]


def _run_lengths(compression: int, bits: int) -> bytes:
    """Return a BMP of 8 x 8 pixels with run lengths, which Pillow reads and does not write."""
    palette = bytes(range(64)) if bits == 4 else bytes(i % 256 for i in range(1024))
    content = b"\x08\x05\x00\x00" * 4 + b"\x00\x04\x01\x02\x03\x04\x04\x02\x00\x00" * 3 + b"\x08\x01\x00\x01"
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, bits, compression, len(content), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start) + header + palette + content


def _tiffs(_folder: Path) -> list[bytes]:
    return [
        *_in_modes("TIFF", ("RGB", "L", "1", "P", "RGBA", "CMYK", "LAB", "F", "I;16")),
        *(encode(_IMAGE, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
        encode(_IMAGE, "TIFF", compression="jpeg"),
        encode(_IMAGE.convert("1"), "TIFF", compression="group4"),
        encode(_IMAGE, "TIFF", tiffinfo={278: 3}),
    ]


def _ppms(_folder: Path) -> list[bytes]:
    return [
        *_in_modes("PPM", ("RGB", "L", "1")),
        b"P2\n# a comment\n6 4\n255\n" + b"1 2 3 40 50 60\n" * 4,
        b"P3 2 2 15 " + b"1 2 3 " * 4,
        b"P1\n6 4\n" + b"0 1 0 1 1 0\n" * 4,
        b"P5 3 2 65535\n" + bytes(range(12)),
        b"Pf\n3 2\n-1.0\n" + struct.pack("<6f", *range(6)),
    ]


def _avifs(_folder: Path) -> list[bytes]:
    return [*_in_modes("AVIF", ("RGB", "RGBA", "L")), encode(_IMAGE, "AVIF", exif=exif(5))]


def _heics(_folder: Path) -> list[bytes]:
    import pillow_heif

    found = []
    for mode, block in (("RGB", exif(5).tobytes()), ("RGBA", None), ("L", None)):
        buffer = io.BytesIO()
        pillow_heif.from_pillow(_IMAGE.convert(mode)).save(buffer, exif=block)
        found.append(buffer.getvalue())
    return found


_SIDES = (
    *((1, 4_000_000), (4_000_000, 1), (100_000_000, 1), (1, 100_000_000), (2, 99_000_000), (30_000, 3)),
    *((14_000, 14_000), (16_383, 12_000), (12_000, 16_383), (20_000, 9_999), (9_000, 9_000), (4_000, 4_000)),
    *((1, 65_535), (65_535, 1), (3_000, 65_535), (65_535, 3_000), (16_383, 1), (1, 16_383), (0, 9), (9, 0)),
)
"""Widths and heights at the limits or far from square, for small files that lie."""

Change = Callable[[bytes, Random], bytes]


def _sized(layout: str, *marks: tuple[bytes, int]) -> Change:
    """Return what writes another width and height behind the first mark there is, so many bytes from it."""

    def change(data: bytes, rng: Random) -> bytes:
        limit = 1 << 8 * struct.calcsize(layout) // 2
        sides = struct.pack(layout, *(side % limit for side in rng.choice(_SIDES)))
        for mark, distance in marks:
            at = data.find(mark)
            if at >= 0:
                return data[: at + distance] + sides + data[at + distance + len(sides) :]
        return data

    return change


def _sized_jpeg(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.5:
        return _sized(">HH", (b"\xff\xc0", 5), (b"\xff\xc2", 5))(data, rng)
    # Or the same scans over and over.
    scans = data.find(b"\xff\xda")
    return data[:scans] + data[scans:-2] * rng.choice((10, 300)) + data[-2:]


def _sized_webp(data: bytes, rng: Random) -> bytes:
    at = data.find(b"VP8L")
    if at < 0:
        return _sized("<HH", (b"\x9d\x01\x2a", 3))(data, rng)
    width, height = (min(max(side, 1), 16_384) - 1 for side in rng.choice(_SIDES))
    return data[: at + 9] + struct.pack("<I", width | height << 14 | 1 << 28) + data[at + 13 :]


def _sized_tiff(data: bytes, rng: Random) -> bytes:
    width, height = rng.choice(_SIDES)
    for tag, value in ((256, width), (257, height), (278, rng.choice((1, 2, 70_000)))):
        for kind in (3, 4):
            at = data.find(struct.pack("<HHI", tag, kind, 1))
            if at >= 0:
                data = data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]
    return data


def _sized_ppm(data: bytes, rng: Random) -> bytes:
    sides = b"%d %d" % rng.choice(_SIDES)
    return re.sub(rb"(?<=\s)\d+\s+\d+(?=\s)", sides, data, count=1)


def _read(path: Path) -> None:
    preprocess(path, _SPEC)


def _target(
    suffix: str,
    seeds: Callable[[Path], list[bytes]],
    resize: Change,
    words: Sequence[bytes],
    repair: Callable[[bytes], bytes] = bytes,
) -> Target:
    def mutate(data: bytes, rng: Random) -> bytes:
        resized = rng.random() < 0.1
        if resized:
            data = resize(data, rng)
        if not resized or rng.random() < 0.5:
            data = scramble(data, rng, words)
        return repair(data) if rng.random() < 0.8 else data

    return Target(f"photo{suffix}", seeds, mutate, _read)


_MARKERS = [b"\xff" + bytes([marker]) for marker in range(0xC0, 0x100)]
_TAGS = [struct.pack("<HH", tag, kind) for tag in range(254, 342) for kind in (3, 4)]
_HEADERS = [struct.pack("<I", value) for value in (1, 2, 3, 4, 12, 40, 64, 108, 124)]

JPEG = _target(".jpg", _jpegs, _sized_jpeg, _MARKERS)
PNG = _target(
    ".png",
    _pngs,
    _sized(">II", (b"IHDR", 4)),
    b"IHDR PLTE IDAT IEND tRNS iCCP zTXt eXIf acTL fdAT fcTL".split(),
    repair_png,
)
WEBP = _target(".webp", _webps, _sized_webp, [b"VP8 ", *b"VP8L VP8X ALPH ANIM ANMF EXIF RIFF".split()])
GIF = _target(
    ".gif",
    _gifs,
    _sized("<HH", (b"GIF8", 6)),
    [b"\x21\xf9\x04", b"\x21\xff\x0b", b"\x21\xfe", b",", b";", b"GIF87a"],
)
BMP = _target(".bmp", _bmps, _sized("<II", (b"BM", 18)), _HEADERS)
TIFF = _target(".tiff", _tiffs, _sized_tiff, _TAGS)
PPM = _target(".ppm", _ppms, _sized_ppm, [*b"P1 P2 P3 P4 P6 PF # -1 1e9".split(), b"\n", b" 65535 "])
AVIF = _target(
    ".avif",
    _avifs,
    _sized(">II", (b"ispe", 8)),
    b"ftyp meta iloc iinf iprp ispe av1C mdat irot".split(),
)
HEIC = _target(
    ".heic",
    _heics,
    _sized(">II", (b"ispe", 8)),
    b"ftyp meta iloc iinf iprp ispe hvcC mdat irot".split(),
)
