"""TIFFs that Pillow does not write: tiles, planes, every kind of sample, both orders of bytes, BigTIFF."""

from __future__ import annotations

import struct
import zlib
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.images import encode, photo

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
GREY, RGB, PALETTE, SEPARATED, YCBCR = 1, 2, 3, 5, 6
SHORT, LONG, LONG8 = 3, 4, 16
UNSIGNED, SIGNED, REAL = 1, 2, 3


class Samples(NamedTuple):
    """What a pixel is: tags 262, 258, 338 and 339."""

    photometric: int
    bits: int
    number: int
    extra: tuple[int, ...] = ()
    form: int = UNSIGNED


SAMPLES = (
    *(Samples(photometric, bits, 1) for photometric in (0, GREY, PALETTE) for bits in (1, 2, 4, 8)),
    *(Samples(GREY, bits, 1, form=form) for bits in (8, 16, 32) for form in (UNSIGNED, SIGNED)),
    *(Samples(photometric, 32, 1, form=REAL) for photometric in (0, GREY)),
    Samples(GREY, 12, 1),
    Samples(0, 16, 1),
    *(Samples(photometric, 8, 2, (kind,)) for photometric in (GREY, PALETTE) for kind in (0, 1, 2)),
    *(Samples(RGB, bits, 3) for bits in (8, 16)),
    *(Samples(RGB, bits, 4, (kind,)) for bits in (8, 16) for kind in (0, 1, 2)),
    *(Samples(RGB, 8, 5, (kind, 0)) for kind in (0, 1, 2)),
    *(Samples(RGB, 8, 6, (kind, 0, 0)) for kind in (0, 1, 2)),
    Samples(RGB, 8, 4),
    Samples(RGB, 8, 4, (999,)),
    *(Samples(SEPARATED, bits, 4) for bits in (8, 16)),
    *(Samples(SEPARATED, 8, 4 + count, (0,) * count) for count in (1, 2)),
    Samples(YCBCR, 8, 1),
    Samples(YCBCR, 8, 3),
)


class Layout(NamedTuple):
    """How a file holds its pixels: in tiles of a size or in strips of so many rows."""

    width: int
    height: int
    samples: Samples
    compression: int
    planar: int
    tile: tuple[int, int] | None
    rows: int
    predictor: int
    fill_order: int
    order: str
    big: bool


def random_tiff(rng: Random) -> bytes:
    """Return a TIFF of noise."""
    samples = rng.choice(SAMPLES)
    compressions = [NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS]
    if samples.bits == 8 and samples.number in (1, 3, 4) and samples.form == UNSIGNED:
        compressions += [JPEG, JPEG]
    compression = rng.choice(compressions)
    layout = Layout(
        width=rng.randrange(1, 70),
        height=rng.randrange(1, 60),
        samples=samples,
        compression=compression,
        planar=rng.choice((1, 1, 2)),
        tile=(16 * rng.randrange(1, 4), 16 * rng.randrange(1, 4)) if rng.random() < 0.6 else None,
        rows=8 * rng.randrange(1, 9),
        predictor=rng.choice((1, 2)) if compression in (LZW, DEFLATE) else 1,
        fill_order=2 if samples.bits <= 16 and samples.number in (1, 3) and rng.random() < 0.2 else 1,
        order=rng.choice("<>"),
        big=rng.random() < 0.1,
    )
    return tiff_of(layout, rng)


def tiff_of(layout: Layout, rng: Random) -> bytes:
    """Return noise in a layout."""
    samples, order, big = layout.samples, layout.order, layout.big
    together = samples.number if layout.planar == 1 else 1
    header = struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    file = bytearray((b"II" if order == "<" else b"MM") + header)
    places, lengths = [], []
    for across, down in _parts(layout) * (samples.number // together):
        part = _packed(rng, across, down, samples, together, layout.compression)
        places.append(len(file))
        lengths.append(len(part))
        file += part + bytes(len(part) % 2)
    entries: list[tuple[int, int, tuple[int, ...]]] = [
        (256, LONG, (layout.width,)),
        (257, LONG, (layout.height,)),
        (258, SHORT, (samples.bits,) * rng.choice((samples.number, samples.number, 1))),
        (259, SHORT, (layout.compression,)),
        (262, SHORT, (samples.photometric,)),
        (277, SHORT, (samples.number,)),
        (284, SHORT, (layout.planar,)),
    ]
    kind = LONG8 if big else LONG
    if layout.tile:
        entries += [(322, SHORT, layout.tile[:1]), (323, LONG, layout.tile[1:])]
        entries += [(324, kind, (*places,)), (325, kind, (*lengths,))]
    else:
        entries += [(273, kind, (*places,)), (278, LONG, (layout.rows,)), (279, kind, (*lengths,))]
    if layout.fill_order != 1:
        entries.append((266, SHORT, (layout.fill_order,)))
    if layout.predictor != 1:
        entries.append((317, SHORT, (layout.predictor,)))
    if samples.photometric == PALETTE:
        entries.append((320, SHORT, tuple(rng.randrange(65536) for _ in range(3 << samples.bits))))
    if samples.extra:
        entries.append((338, SHORT, samples.extra))
    if samples.form != UNSIGNED or rng.random() < 0.1:
        entries.append((339, SHORT, (samples.form,) * samples.number))
    if samples.photometric == YCBCR:
        entries.append((530, SHORT, (1, 1)))
    return _with_directory(file, entries, order, big)


def _parts(layout: Layout) -> list[tuple[int, int]]:
    if layout.tile:
        across, down = layout.tile
        return [layout.tile] * (-(-layout.width // across) * -(-layout.height // down))
    tops = range(0, layout.height, layout.rows)
    return [(layout.width, min(layout.rows, layout.height - top)) for top in tops]


def _with_directory(
    file: bytearray, entries: list[tuple[int, int, tuple[int, ...]]], order: str, big: bool
) -> bytes:
    number, room = ("Q", 8) if big else ("I", 4)
    table = struct.pack(order + ("Q" if big else "H"), len(entries))
    for tag, kind, values in sorted(entries):
        content = struct.pack(f"{order}{len(values)}{ {SHORT: 'H', LONG: 'I', LONG8: 'Q'}[kind] }", *values)
        if len(content) > room:
            at = len(file)
            file += content + bytes(len(content) % 2)
            content = struct.pack(order + number, at)
        table += struct.pack(f"{order}HH{number}", tag, kind, len(values)) + content.ljust(room, b"\0")
    struct.pack_into(order + number, file, 8 if big else 4, len(file))
    return bytes(file + table + bytes(room))


def _packed(rng: Random, across: int, down: int, samples: Samples, together: int, compression: int) -> bytes:
    """Return a strip or tile of noise."""
    if compression == JPEG:
        return _jpeg(across, down, together, rng)
    if samples.form == REAL:
        content = np.frombuffer(rng.randbytes(across * down), np.uint8).astype("<f4").tobytes()
    else:
        content = rng.randbytes((across * together * samples.bits + 7) // 8 * down)
    if compression in (DEFLATE, OLD_DEFLATE):
        return zlib.compress(content)
    if compression == LZW:
        return _lzw(content)
    if compression == PACKBITS:
        runs = (content[at : at + 100] for at in range(0, len(content), 100))
        return b"\xfe\x07" + b"".join(bytes([len(run) - 1]) + run for run in runs)
    return content


def _jpeg(across: int, down: int, together: int, rng: Random) -> bytes:
    pixels = photo(across, down, rng.randrange(100))
    if together == 3:
        # Three components as they are, of whatever meaning.
        return encode(Image.merge("YCbCr", Image.fromarray(pixels).split()), "JPEG", subsampling=0)
    if together == 4:
        return encode(
            Image.merge("CMYK", (*Image.fromarray(pixels).split(), Image.fromarray(pixels[..., 0]))), "JPEG"
        )
    return encode(pixels[..., 0], "JPEG")


def _lzw(content: bytes) -> bytes:
    """Return codes of 9 bits: the table is cleared before it would need longer ones."""
    codes = []
    for at in range(0, len(content), 200):
        codes += [256, *content[at : at + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
