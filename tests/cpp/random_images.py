"""Random JPEG, PNG, GIF and WebP of what cameras and programs put into them, in odd places and broken off."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.cpp.cases import random_png
from tests.cpp.tiffs import random_tiff
from tests.images import encode, exif, photo, png_chunk

_SIGNATURE = 8


def random_jpeg(rng: Random) -> bytes:
    """Return a photo with up to five more segments."""
    image = Image.fromarray(photo(rng.randrange(1, 90), rng.randrange(1, 70), rng.randrange(50)))
    mode = rng.choice(("RGB", "RGB", "L", "CMYK"))
    options = {"subsampling": rng.randrange(3)} if mode == "RGB" else {}
    data = encode(image.convert(mode), "JPEG", progressive=rng.random() < 0.2, **options)
    for _ in range(rng.randrange(6)):
        # After the signature, or after the first segment, which is JFIF's or Adobe's.
        at = rng.choice((2, 4 + struct.unpack_from(">H", data, 4)[0]))
        data = data[:at] + _segment(rng) + data[at:]
    return data


def _segment(rng: Random) -> bytes:
    content = rng.choice((_photoshop, _profile, _adobe, _jfif, _exif, _comment))(rng)
    if rng.random() < 0.2:
        content = content[: rng.randrange(1, len(content) + 1)]
    marker, rest = content[:1], content[1:]
    return b"\xff" * rng.choice((1, 1, 1, 3)) + marker + struct.pack(">H", 2 + len(rest)) + rest


def _photoshop(rng: Random) -> bytes:
    resources = b""
    for _ in range(rng.randrange(4)):
        kind, name, size = (
            rng.choice((0x3ED, 0x404, 0x425)),
            rng.randbytes(rng.randrange(5)),
            rng.randrange(20),
        )
        resources += b"8BIM" + struct.pack(">HB", kind, len(name)) + name + bytes(len(name) % 2 == 0)
        resources += struct.pack(">I", size) + rng.randbytes(size + size % 2)
    return b"\xedPhotoshop 3.0\0" + resources


def _profile(rng: Random) -> bytes:
    return (
        b"\xe2ICC_PROFILE\0" + bytes((rng.randrange(3), rng.randrange(3))) + rng.randbytes(rng.randrange(40))
    )


def _adobe(rng: Random) -> bytes:
    return b"\xeeAdobe" + struct.pack(">HHHB", 100, 0, 0, rng.randrange(4))


def _jfif(rng: Random) -> bytes:
    version, unit = rng.choice((0x101, 0x102)), rng.randrange(3)
    return b"\xe0JFIF\0" + struct.pack(">HBHHBB", version, unit, 72, 72, 0, 0)


def _exif(rng: Random) -> bytes:
    return b"\xe1" + exif(rng.randrange(10)).tobytes()


def _comment(rng: Random) -> bytes:
    return b"\xfe" + rng.randbytes(rng.randrange(30))


# ------------------------------------------------------------------ PNG


_PNG_KINDS = [(bits, 0) for bits in (1, 2, 4, 8, 16)] + [(bits, 3) for bits in (1, 2, 4, 8)]
_PNG_KINDS += [(bits, colour) for bits in (8, 16) for colour in (2, 4, 6)]
_CHUNKS = [b"tEXt", b"iCCP", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"fdAT", b"bKGD", b"tRNS", b"PLTE", b"sRGB"]
_CHUNKS += [b"pHYs", b"eXIf", b"gAMA", b"cHRM", b"cICP", b"sBIT", b"IHDR", b"IDAT", b"IEND", b"ABCD", b"abcd"]


def chunky_png(rng: Random) -> bytes:
    """Return a PNG with up to four more chunks; its pixels may lie in several, and all in any order."""
    bits, colour = rng.choice(_PNG_KINDS)
    data = random_png(rng, rng.randrange(1, 40), rng.randrange(1, 40), bits, colour, rng.random() < 0.4)
    chunks, at = list[bytes](), _SIGNATURE
    while at < len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        chunks += _halves(data[at:end], rng)
        at = end
    for _ in range(rng.randrange(5)):
        chunks.insert(rng.randrange(1, len(chunks) + 1), _chunk(rng))
    if rng.random() < 0.05:
        rng.shuffle(chunks)
    return data[:_SIGNATURE] + b"".join(chunks)


def _halves(chunk: bytes, rng: Random) -> list[bytes]:
    """Return pixels in two chunks, half of the time."""
    content = chunk[8:-4]
    if chunk[4:8] != b"IDAT" or rng.random() < 0.5:
        return [chunk]
    middle = rng.randrange(len(content))
    return [png_chunk(b"IDAT", content[:middle]), png_chunk(b"IDAT", content[middle:])]


def _chunk(rng: Random) -> bytes:
    kind, content = rng.choice(_CHUNKS), rng.randbytes(rng.randrange(20))
    if kind == b"eXIf":
        content = exif(rng.randrange(10)).tobytes()[rng.choice((0, 6, 6, 6)) :]
    elif kind == b"gAMA":
        content = struct.pack(">I", rng.choice((0, 1, 45455, 100000)))
    elif kind == b"acTL":
        content = struct.pack(">II", rng.randrange(3), rng.randrange(3))
    elif kind == b"PLTE":
        content = rng.randbytes(3 * rng.randrange(10) + rng.choice((0, 0, 0, 1)))
    elif kind == b"IHDR":
        content = struct.pack(">IIBBBBB", 5, 5, 8, 2, 0, 0, 0)
    chunk = png_chunk(kind, content)
    return chunk if rng.random() < 0.9 else chunk[:-1] + rng.randbytes(1)


# ------------------------------------------------------------------ GIF


def odd_gif(rng: Random) -> bytes:
    """Return up to three frames, of which some leave the canvas, with palettes of colours, greys or none."""
    width, height, has_palette = rng.randrange(40), rng.randrange(40), rng.random() < 0.8
    bits = rng.randrange(8)
    data = rng.choice((b"GIF87a", b"GIF89a")) + struct.pack("<HH", width, height)
    data += bytes((has_palette << 7 | bits, rng.randrange(256), 0)) + (
        _palette(rng, bits) if has_palette else b""
    )
    for _ in range(rng.randrange(1, 4)):
        data += b"".join(_extension(rng) for _ in range(rng.randrange(3)))
        across, down = rng.choice((width, rng.randrange(1, 40))), rng.choice((height, rng.randrange(1, 40)))
        left, top = rng.choice((0, rng.randrange(30))), rng.choice((0, rng.randrange(30)))
        own, interlaced, own_bits = rng.random() < 0.4, rng.random() < 0.4, rng.randrange(8)
        data += b"," + struct.pack("<HHHHB", left, top, across, down, own << 7 | interlaced << 6 | own_bits)
        data += _palette(rng, own_bits) if own else b""
        count = max(0, across * down + rng.choice((0, 0, 0, 5, -5, -across)))
        data += _codes(rng, count, rng.choice((2, 8, 8, bits + 1)))
    return data + b";"


def _palette(rng: Random, bits: int) -> bytes:
    colours = 2 << bits
    greys = bytes(level for level in range(colours) for _ in range(3))
    return rng.choice((greys, bytes(3 * colours), rng.randbytes(3 * colours), rng.randbytes(3 * colours)))


def _extension(rng: Random) -> bytes:
    size = rng.choice((4, 4, 4, 4, rng.randrange(8)))
    control = b"!\xf9" + bytes((size, rng.randrange(32), 1, 0, rng.randrange(256), 0))
    return rng.choice(
        (control, control, b"!\xfe\x03abc\0", b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0", rng.randbytes(3))
    )


def _codes(rng: Random, count: int, bits: int) -> bytes:
    """Return the pixels of a frame, in codes of one width: a full table is cleared."""
    clear, step = 1 << bits, max(1, (1 << bits) - 2)
    codes = list[int]()
    for at in range(0, count, step):
        codes += [clear, *(rng.randrange(clear) for _ in range(min(step, count - at)))]
    packed = sum(code << (bits + 1) * place for place, code in enumerate([*codes, clear, clear + 1]))
    content = packed.to_bytes(((len(codes) + 2) * (bits + 1) + 7) // 8, "little")
    blocks, at = bytes([bits]), 0
    while at < len(content):
        block = content[at : at + rng.randrange(1, 256)]
        blocks += bytes([len(block)]) + block
        at += len(block)
    return blocks + b"\0"


# ------------------------------------------------------------------ WebP


def odd_webp(rng: Random) -> bytes:
    """Return a photo with noise as alpha, a profile, EXIF or more frames, with flags and frames that lie."""
    width, height = rng.randrange(1, 50), rng.randrange(1, 40)
    image = Image.fromarray(photo(width, height, rng.randrange(50)))
    if rng.random() < 0.5:
        image.putalpha(
            Image.fromarray(np.frombuffer(rng.randbytes(width * height), np.uint8).reshape(height, width))
        )
    options: dict[str, Any] = {"lossless": rng.random() < 0.4, "quality": rng.randrange(100), "method": 0}
    options["exact"] = rng.random() < 0.5
    if rng.random() < 0.4:
        options["exif"] = exif(rng.randrange(10)).tobytes()[rng.choice((0, 0, 6)) :]
    if rng.random() < 0.2:
        options["icc_profile"] = rng.randbytes(30)
    if rng.random() < 0.3:
        frames = [Image.fromarray(photo(width, height, seed)) for seed in range(2)]
        options |= {"save_all": True, "append_images": frames, "background": tuple(rng.randbytes(4))}
        options |= {"minimize_size": rng.random() < 0.5}
    data = bytearray(encode(image, "WebP", **options))
    if data[12:16] == b"VP8X" and rng.random() < 0.3:
        data[20] ^= 1 << rng.randrange(8)
    frame = data.find(b"ANMF")
    if frame > 0 and rng.random() < 0.4:
        data[frame + 8 + rng.choice((0, 3, 15))] = rng.randrange(4)
    return bytes(data)


RANDOM: Mapping[str, Callable[[Random], bytes]] = {
    "JPEG": random_jpeg,
    "PNG": chunky_png,
    "GIF": odd_gif,
    "WebP": odd_webp,
    "TIFF": random_tiff,
}
"""By the format's name in ``cases.MUTATED``."""
