"""Image files for comparing decoders: every format, mode, depth and orientation, whole and damaged."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile_images import bmp
from tests.images import animation, encode, exif, photo, png_chunk, stored

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from fuzzing import images as fuzzing

MUTATED = {
    "JPEG": fuzzing.JPEG,
    "PNG": fuzzing.PNG,
    "WebP": fuzzing.WEBP,
    "GIF": fuzzing.GIF,
    "BMP": fuzzing.BMP,
    "TIFF": fuzzing.TIFF,
    "PPM": fuzzing.PPM,
    "AVIF": fuzzing.AVIF,
}
_MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "L", "1", "P", "RGBA", "LA", "I;16"),
    "WebP": ("RGB", "RGBA"),
    "GIF": ("RGB", "L", "1", "P"),
    "BMP": ("RGB", "L", "1", "P", "RGBA"),
    "TIFF": ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "F", "I", "I;16"),
    "PPM": ("RGB", "L", "1", "I"),
    "AVIF": ("RGB", "RGBA", "L"),
}
_SIZES = ((1, 1), (7, 5), (33, 64), (150, 41), (300, 200))
_TOO_LONG = 200_000


def whole() -> Iterator[tuple[str, bytes]]:
    """Yield files of every mode of every format by name, in several sizes, and what Pillow does not write."""
    for kind, modes in _MODES.items():
        options = {"speed": 10} if kind == "AVIF" else {}
        for mode in modes:
            for width, height in _SIZES:
                image = _in_mode(mode, width, height)
                yield f"{kind} {mode} {width} x {height}", encode(image, kind, **options)
    yield from _oriented()
    yield from _jpegs()
    yield from _pngs()
    yield from _gifs()
    yield from _bmps()
    yield from _tiffs()
    yield from _netpbms()
    for kind in ("GIF", "PNG", "WebP"):
        yield f"{kind} animation", animation(kind, photo(60, 40), photo(60, 40, 1), photo(60, 40, 2))


def damaged(kind: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged files of one format."""
    target, rng = MUTATED[kind], Random(f"{kind} pixels")
    seeds = target.seeds(Path())
    while count:
        data = target.mutate(rng.choice(seeds), rng)
        if len(data) <= _TOO_LONG:
            yield f"damaged {kind} {count}", data
            count -= 1


def _in_mode(mode: str, width: int, height: int) -> Image.Image:
    image = Image.fromarray(photo(width, height, seed=width))
    if mode == "I;16":
        return Image.fromarray(photo(width, height)[..., 1].astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(photo(width, height)[..., 1].astype(np.int32) * 257)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(photo(width, height, seed=3)[..., 0]))
    return image.convert(mode)


def _oriented() -> Iterator[tuple[str, bytes]]:
    for orientation in range(1, 9):
        pixels = stored(photo(90, 60, 5), orientation)
        for kind in ("JPEG", "PNG", "WebP", "TIFF", "AVIF"):
            yield f"{kind} of orientation {orientation}", encode(pixels, kind, exif=exif(orientation))


def _jpegs() -> Iterator[tuple[str, bytes]]:
    for width, height in ((700, 600), (1201, 903), (257, 2000), (64, 64)):
        for options in (
            {},
            {"progressive": True},
            {"subsampling": 0},
            {"subsampling": 1},
            {"quality": 20},
            {"restart_marker_blocks": 3},
            {"optimize": True},
        ):
            yield f"JPEG {width} x {height} {options}", encode(photo(width, height), "JPEG", **options)
        yield f"JPEG grey {width} x {height}", encode(photo(width, height)[..., 0], "JPEG")


def random_png(rng: Random, width: int, height: int, bits: int, colour: int, interlaced: bool) -> bytes:
    """Return a PNG of noise, with all filters."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for left, top, across, down in steps if interlaced else [(0, 0, 1, 1)]:
        columns = -(-(width - left) // across) if width > left else 0
        for _ in range(top, height, down) if columns else ():
            rows += bytes([rng.randrange(5)]) + rng.randbytes((columns * bits * channels + 7) // 8)
    chunks = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    if colour == 3:
        chunks += png_chunk(b"PLTE", rng.randbytes(3 * rng.choice((1, 1 << bits))))
    if colour in (0, 2, 3) and rng.random() < 0.5:
        size = {0: 2, 2: 6, 3: rng.randrange(1 << bits) + 1}[colour]
        content = rng.randbytes(size)
        if colour != 3:
            content = b"".join(bytes((0, byte)) for byte in content[::2])
        chunks += png_chunk(b"tRNS", content)
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def _pngs() -> Iterator[tuple[str, bytes]]:
    rng = Random("png")
    kinds = [(bits, 0) for bits in (1, 2, 4, 8, 16)] + [(bits, 3) for bits in (1, 2, 4, 8)]
    kinds += [(bits, colour) for bits in (8, 16) for colour in (2, 4, 6)] + [(4, 2), (16, 3), (3, 0)]
    for bits, colour in kinds:
        for interlaced in (False, True):
            for width, height in ((1, 1), (3, 70), (65, 2), (40, 31)):
                for variant in range(2):
                    data = random_png(rng, width, height, bits, colour, interlaced)
                    yield f"PNG {bits} bit {colour} {interlaced} {width} x {height} {variant}", data


def _gifs() -> Iterator[tuple[str, bytes]]:
    palette = Image.fromarray(photo(81, 60)).quantize(32)
    for options in ({}, {"transparency": 3}, {"interlace": 1}, {"interlace": 0}, {"comment": b"a" * 300}):
        yield f"GIF {options}", encode(palette, "GIF", **options)
    plain = bytearray(encode(palette, "GIF", interlace=0))
    frame = plain.index(b",")
    for left, top in ((3, 2), (0, 40), (500, 1)):
        moved = plain[:]
        struct.pack_into("<HH", moved, frame + 1, left, top)
        yield f"GIF frame at {left}, {top}", bytes(moved)
        control = b"!\xf9\x04\x01\0\0\x05\0"
        yield f"GIF transparent frame at {left}, {top}", bytes(moved[:frame] + control + moved[frame:])
    greys = bytes(byte for level in range(32) for byte in (level,) * 3)
    local = plain[: frame + 9] + bytes([0x84]) + bytes(range(96)) + plain[frame + 10 :]
    yield "GIF local palette", bytes(local)
    local = plain[: frame + 9] + bytes([0x84]) + greys + plain[frame + 10 :]
    yield "GIF local greys over a global palette", bytes(local)
    yield "GIF transparent local greys", bytes(local[:frame] + b"!\xf9\x04\x01\0\0\x05\0" + local[frame:])


def _bmps() -> Iterator[tuple[str, bytes]]:
    rng = Random("bmp")
    for bits in (1, 4, 8, 16, 24, 32):
        for width, height in ((1, 1), (13, 9), (40, 30)):
            for direction in (1, -1):
                content = rng.randbytes((width * bits + 31) // 32 * 4 * height)
                for colours in (0, 2, 64, 256) if bits <= 8 else (0,):
                    data = bmp(width, direction * height, bits, 0, content, colours)
                    yield f"BMP {bits} bit, {colours} colours, {width} x {direction * height}", data
    masks = [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0)]
    masks += [(0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0, 0, 0, 0)]
    masks += [(0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000)]
    masks += [(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0), (0xF, 0xF0, 0xF00, 0)]
    for mask in masks:
        for bits in (16, 24, 32):
            for size in (40, 52, 56, 108, 124):
                content = rng.randbytes((20 * bits + 31) // 32 * 4 * 15)
                header = struct.pack("<IiiHHIIiiII", size, 20, 15, 1, bits, 3, len(content), 0, 0, 0, 0)
                header += (struct.pack("<4I", *mask) + bytes(84))[: max(size - 40, 12)]
                head = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header))
                yield f"BMP masks {mask} of {bits} bit, header {size}", head + header + content
    old = struct.pack("<IHHHH", 12, 9, 7, 1, 8) + rng.randbytes(768) + rng.randbytes(12 * 7)
    yield "BMP of OS/2", b"BM" + struct.pack("<IHHI", 0, 0, 0, 26 + 768) + old
    for bits in (4, 8, 24):
        for variant in range(40):
            runs = b"".join(rng.choice((_run, _absolute, _row_end, _delta))(rng) for _ in range(120))
            data = bmp(30, 20, bits, 1 if bits == 8 else 2, runs + b"\0\1", 16 if bits == 4 else 256)
            yield f"BMP runs of {bits} bit {variant}", data


def _run(rng: Random) -> bytes:
    return bytes([rng.randrange(1, 9), rng.randrange(256)])


def _absolute(rng: Random) -> bytes:
    size = rng.randrange(3, 9)
    return bytes([0, size]) + rng.randbytes(size + size % 2)


def _row_end(_rng: Random) -> bytes:
    return b"\0\0"


def _delta(rng: Random) -> bytes:
    return bytes([0, 2, rng.randrange(4), rng.randrange(2)])


def _tiffs() -> Iterator[tuple[str, bytes]]:
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        for mode in ("RGB", "L", "CMYK") if compression == "jpeg" else _MODES["TIFF"]:
            for rows in (8, 64):
                options: dict[str, Any] = {"compression": compression, "tiffinfo": {278: rows}}
                yield (
                    f"TIFF {compression} {mode} in strips of {rows}",
                    encode(_in_mode(mode, 45, 60), "TIFF", **options),
                )
    for compression in ("group3", "group4", "tiff_ccitt"):
        bits = _in_mode("1", 45, 60)
        yield f"TIFF {compression}", encode(bits, "TIFF", compression=compression)


def _netpbms() -> Iterator[tuple[str, bytes]]:
    rng = Random("netpbm")
    for maximum in (1, 15, 100, 255, 256, 1000, 65535):
        size = 1 if maximum < 256 else 2
        for kind in (5, 6):
            count = 12 * 9 * (3 if kind == 6 else 1)
            head = b"P%d\n# made for a test\n12 9\n%d\n" % (kind, maximum)
            yield f"PPM P{kind} up to {maximum}", head + rng.randbytes(count * size)
            text = b" ".join(b"%d" % rng.randrange(maximum + 1) for _ in range(count))
            yield f"PPM P{kind - 3} up to {maximum}", head.replace(b"P%d" % kind, b"P%d" % (kind - 3)) + text
    yield "PPM P1", b"P1 # bits\n7 5\n" + b"0110 1\n" * 7
    for scale in (b"-1.0", b"1.0", b"+0.5", b"1e0"):
        for top in (1.0, 1.4, 250.0, 60000.0, 90000.0):
            floats = (photo(12, 9)[..., 0] / 255 * top).astype("<f4" if scale.startswith(b"-") else ">f4")
            yield f"PFM {scale!r} up to {top}", b"Pf\n12 9\n" + scale + b"\n" + floats.tobytes()
