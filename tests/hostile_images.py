"""Small image files that ask for much time or memory, each by the name of what it does.

Every file is generated and at most 10 MB long; ``REFUSED`` and ``READ`` hold a function for each.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from tests.images import encode, huge_gif, huge_jpeg, photo, png_chunk

MEGABYTE = 10**6


def png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour: int = 0,
    extra: bytes = b"",
    interlaced: bool = False,
    row_filter: int = 0,
) -> bytes:
    """Return a PNG of zeros. ``colour`` is PNG's colour type, ``extra`` are chunks before the pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * bits * channels + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    content = png_chunk(b"IHDR", header) + extra
    pixels = deflated(bytes([row_filter]) + bytes(row - 1), height * (5 if interlaced else 4) // 4)
    return b"\x89PNG\r\n\x1a\n" + content + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def deflated(block: bytes, count: int) -> bytes:
    """Return ``count`` copies of a block as a zlib stream, without holding or compressing all of them."""
    many = max(MEGABYTE // len(block), 1)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(block * many) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(block * (count % many)) + packer.flush()
    checksum = 1
    for _ in range(count // many):
        checksum = zlib.adler32(block * many, checksum)
    checksum = zlib.adler32(block * (count % many), checksum)
    return b"\x78\xda" + packed * (count // many) + last + struct.pack(">I", checksum)


def png_of_many_chunks(chunk: bytes, count: int) -> bytes:
    """Return a good PNG with ``count`` copies of a chunk before its pixels."""
    data = encode(photo(60, 40))
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk * count + data[at:]


def png_of_split_pixels() -> bytes:
    """Return a PNG whose pixels lie in 700,000 chunks, nearly all of them empty."""
    return png_of_many_chunks(png_chunk(b"IDAT", b""), 800_000)


def lossless_webp(width: int, height: int) -> bytes:
    """Return a WebP of one colour: five Huffman codes of one symbol, and no bit a pixel."""
    bits, at = 0, 0
    for value, size in [(width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 3), *[(1, 4)] * 5]:
        bits |= value << at
        at += size
    frame = b"\x2f" + bits.to_bytes((at + 7) // 8, "little")
    frame += bytes(len(frame) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def bmp(width: int, height: int, bits: int, compression: int, content: bytes, colours: int = 0) -> bytes:
    """Return a BMP with ``content`` behind its headers and a palette of ``colours``."""
    offset = 54 + 4 * colours
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(content), 0, 0, colours, 0
    )
    head = b"BM" + struct.pack("<IHHI", offset + len(content), 0, 0, offset)
    return head + header + bytes(range(256)) * (colours // 64) + bytes(4 * (colours % 64)) + content


def run_length_bmp(bits: int) -> bytes:
    """Return a BMP of 196 megapixels whose only run ends its row."""
    return bmp(196_000_000, 1, bits, 1 if bits == 8 else 2, b"\x01\x01\0\0", 256 if bits == 8 else 16)


def run_length_bmp_without_runs() -> bytes:
    """Return a BMP of 10 MB that begins its first row again and again."""
    return bmp(100, 100, 8, 1, b"\0\0" * (5 * MEGABYTE - 1000), 256)


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """Return a progressive JPEG of no content whose last scan is repeated."""
    data = bytearray(encode(Image.new("RGB", (64, 64)), "JPEG", progressive=True))
    at = data.index(b"\xff\xc2") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    last = bytes(data[data.rindex(b"\xff\xda") : -2])
    return bytes(data[:-2]) + last * scans + b"\xff\xd9"


def jpeg_of_scans(width: int = 1000, height: int = 1000, scans: int = 1000) -> bytes:
    """Return a progressive JPEG whose last scan comes ``scans`` times more."""
    data = encode(Image.new("RGB", (width, height)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"


def sequential_jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """Return a baseline JPEG with a scan a component, the first of which is repeated."""
    grey = encode(Image.new("L", (width, height)), "JPEG")
    frame = grey.index(b"\xff\xc0")
    length = struct.unpack_from(">H", grey, frame + 2)[0]
    content = struct.pack(">BHHB", 8, height, width, 2 + 1) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    sof = b"\xff\xc0" + struct.pack(">H", 2 + len(content)) + content
    at = grey.index(b"\xff\xda")
    scan = grey[at:-2]
    return grey[:frame] + sof + grey[frame + 2 + length : at] + scan * scans + b"\xff\xd9"


def jpeg_of_segments(segment: bytes) -> bytes:
    """Return a JPEG with 9 MB of copies of a segment in its header."""
    data = encode(photo(60, 40), "JPEG")
    return data[:2] + segment * (9 * MEGABYTE // len(segment)) + data[2:]


def tiff(
    width: int,
    height: int,
    *,
    strips: int = 1,
    content: bytes = b"",
    compression: int = 1,
    samples: int = 1,
    bits: int = 8,
    tags: Mapping[int, tuple[int, int]] | None = None,
) -> bytes:
    """Return a TIFF whose ``strips`` all lie over the same ``content``; tags are (kind, value)."""
    at = 8
    arrays = b""
    base = at + len(content)

    def array(values: list[int], kind: str) -> tuple[int, int]:
        nonlocal arrays
        offset = base + len(arrays)
        packed = struct.pack(f"<{len(values)}{kind}", *values)
        arrays += packed + bytes(len(packed) % 2)
        return len(values), offset

    if strips == 1:
        offsets, counts = (1, at), (1, len(content))
    else:
        offsets = array([at] * strips, "I")
        counts = array([len(content)] * strips, "I")
    depth = (1, bits) if samples == 1 else array([bits] * samples, "H")
    entries: dict[int, tuple[int, int, int]] = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, *depth),
        259: (3, 1, compression),
        262: (3, 1, 1 if samples == 1 else 2),
        273: (4, *offsets),
        277: (3, 1, samples),
        278: (4, 1, -(-height // strips)),
        279: (4, *counts),
    }
    for tag, (kind, value) in (tags or {}).items():
        entries[tag] = (kind, 1, value)
    table = struct.pack("<H", len(entries))
    for tag, (kind, count, value) in sorted(entries.items()):
        table += struct.pack("<HHII", tag, kind, count, value)
    directory = base + len(arrays)
    return b"II*\0" + struct.pack("<I", directory) + content + arrays + table + bytes(4)


def tiff_of_tiny_tiles(count: int) -> bytes:
    """Return a TIFF of tiles of 1 x 1 pixels, all over the same byte."""
    offsets = struct.pack(f"<{count}I", *[8] * count)
    sizes = struct.pack(f"<{count}I", *[1] * count)
    at = 12
    entries = [
        (256, 4, 1, count),
        (257, 4, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (322, 4, 1, 1),
        (323, 4, 1, 1),
        (324, 4, count, at),
        (325, 4, count, at + len(offsets)),
    ]
    table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = at + len(offsets) + len(sizes)
    return b"II*\0" + struct.pack("<I", directory) + bytes(4) + offsets + sizes + table + bytes(4)


def gif(width: int, height: int, *, transparent: bool = False) -> bytes:
    """Return a GIF of one colour."""
    image = Image.new("P", (width, height))
    image.putpalette([1, 2, 3, 4, 5, 6])
    return encode(image, "GIF", **({"transparency": 1} if transparent else {}))


def gif_of_blocks(block: bytes) -> bytes:
    """Return a GIF with 9 MB of ``block`` before its frame."""
    data = encode(photo(60, 40), "GIF")
    at = 13 + (6 << (data[10] & 7) if data[10] & 0x80 else 0)
    return data[:at] + block * (9 * MEGABYTE // len(block)) + data[at:]


def avif(width: int, height: int) -> bytes:
    """Return an AVIF of one colour."""
    return encode(Image.new("RGB", (width, height)), "AVIF", quality=1, speed=10)


def avif_of_items(count: int) -> bytes:
    """Return an AVIF whose table of items has ``count`` more, none of which it uses."""
    data = encode(photo(60, 40), "AVIF")
    meta, locations, table = (data.index(kind) - 4 for kind in (b"meta", b"iloc", b"iinf"))
    meta_size, table_size = (struct.unpack_from(">I", data, at)[0] for at in (meta, table))
    items = b"".join(
        struct.pack(">I4sBxxxIH4sx", 23, b"infe", 3, 2 + item, 0, b"Exif") for item in range(count)
    )
    # The number of items takes four bytes in version 1 of the table, two in version 0.
    new = struct.pack(">I4sBxxxI", table_size + 2 + len(items), b"iinf", 1, 1 + count)
    new += data[table + 14 : table + table_size] + items
    grown = bytearray(data[:table] + new + data[table + table_size :])
    added = len(new) - table_size
    struct.pack_into(">I", grown, meta, meta_size + added)
    (offset,) = struct.unpack_from(">I", data, locations + 22)
    struct.pack_into(">I", grown, locations + 22, offset + added)
    return bytes(grown)


def avif_of_properties(count: int) -> bytes:
    """Return an AVIF with ``count`` properties that nothing uses."""
    data = encode(photo(60, 40), "AVIF")
    at = data.index(b"ipco") + 4
    return data[:at] + struct.pack(">I4s", 8, b"free") * count + data[at:]


def webp_of_frames(count: int) -> bytes:
    """Return an animated WebP of ``count`` frames of one pixel each."""
    frame = lossless_webp(1, 1)[12:]
    one = b"ANMF" + struct.pack("<I", 16 + len(frame)) + bytes(16) + frame
    header = b"VP8X" + struct.pack("<I", 10) + b"\x02" + bytes(9) + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    content = b"WEBP" + header + one * count
    return b"RIFF" + struct.pack("<I", len(content)) + content


def blank_jpeg(width: int, height: int) -> bytes:
    """Return a grey JPEG of one colour, made of one row of blocks again and again."""
    data = encode(Image.new("L", (width, 8)), "JPEG", restart_marker_rows=1)
    return repeated_rows(data, height, 8)


def repeated_rows(data: bytes, height: int, block: int) -> bytes:
    """Return a JPEG of one row of blocks, ``block`` pixels high, that row repeated to fill ``height``."""
    at = data.index(b"\xff\xc0") + 5
    scan = data.index(b"\xff\xda")
    start = scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]
    rows = -(-height // block)
    content = b"".join(data[start:-2] + bytes([0xFF, 0xD0 + row % 8]) for row in range(rows))
    return data[:at] + struct.pack(">H", height) + data[at + 2 : start] + content[:-2] + b"\xff\xd9"


def real_jpeg(width: int, height: int, *, exif: bytes = b"") -> bytes:
    """Return a JPEG with as much detail as a photo, made of one row of blocks again and again."""
    rng = np.random.default_rng(0)
    row = np.clip(photo(width, 16).astype(np.int16) + rng.integers(-12, 13, (16, width, 1)), 0, 255)
    data = encode(row.astype(np.uint8), "JPEG", quality=85, restart_marker_rows=1, exif=exif)
    return repeated_rows(data, height, 16)


REFUSED: Mapping[str, Callable[[], bytes]] = {
    "png: 1 x 100,000,000": lambda: png(1, 100_000_000),
    "png: 100,000,000 x 1": lambda: png(100_000_000, 1),
    "png: 1-bit with a transparent colour": lambda: png(
        14000, 14000, bits=1, extra=png_chunk(b"tRNS", b"\0\0")
    ),
    "png: 100 megapixels of 16-bit colour, filtered": lambda: png(
        10000, 9900, colour=2, bits=16, row_filter=4
    ),
    "webp: 40 bytes": lambda: lossless_webp(16383, 10900),
    "bmp: 1 x 100,000,000": lambda: bmp(1, 100_000_000, 24, 0, bytes(6000)),
    "ppm: 100,000,000 x 1": lambda: b"P6 100000000 1 255 " + bytes(6000),
    "bmp: RLE8": lambda: run_length_bmp(8),
    "bmp: RLE4": lambda: run_length_bmp(4),
    "bmp: RLE8 without runs": run_length_bmp_without_runs,
    "jpeg: 1,000 scans": jpeg_of_scans,
    "jpeg: 200 scans of 10 megapixels": lambda: jpeg_of_scans(4000, 2500, 200),
    "jpeg: 90 scans of 100 megapixels": lambda: progressive_jpeg(10000, 10000, 80),
    "jpeg: 421 bytes": lambda: progressive_jpeg(14000, 14000, 0)[:421],
    "jpeg: 196 megapixels of an arithmetic code": lambda: huge_jpeg(14000, 14000).replace(
        b"\xff\xc0", b"\xff\xc9"
    ),
    "jpeg: sequential scans": lambda: sequential_jpeg_of_scans(900, 900, 1000),
    "jpeg: comments": lambda: jpeg_of_segments(b"\xff\xfe\0\x02"),
    "jpeg: fill bytes": lambda: jpeg_of_segments(b"\xff"),
    "jpeg: EXIF a byte at a time": lambda: jpeg_of_segments(b"\xff\xe1\0\x09Exif\0\0x"),
    "tiff: 20,000 strips over the same bytes": lambda: tiff(4000, 20000, strips=20000, content=bytes(4000)),
    "tiff: 500,000 strips": lambda: tiff(1, 500_000, strips=500_000, content=b"\0"),
    "tiff: tiny tiles": lambda: tiff_of_tiny_tiles(1_000_000),
    "tiff: deflate": lambda: tiff(9000, 9000, content=deflated(bytes(27000), 9000), compression=8, samples=3),
    "tiff: deflate, 20,000 strips over the same bytes": lambda: tiff(
        4000, 20000, strips=20000, content=deflated(bytes(4000), 1), compression=8
    ),
    "tiff: LZMA": lambda: tiff(9000, 9000, content=lzma.compress(bytes(27000)), compression=34925, samples=3),
    "gif: 196 megapixels": lambda: huge_gif((14000, 14000), (14000, 14000)),
    "gif: a canvas of 4,295 megapixels": lambda: huge_gif((65535, 65535), (1, 1)),
    "gif: comments": lambda: gif_of_blocks(b"!\xfe\x01x\0"),
    "avif: 400,000 items": lambda: avif_of_items(400_000),
    "avif: a million properties": lambda: avif_of_properties(1_000_000),
}
"""Files that are refused, and that took seconds or gigabytes without it."""

READ: Mapping[str, Callable[[], bytes]] = {
    "png: 1 x 4,000,000": lambda: png(1, 4_000_000),
    "png: 37 megapixels RGBA, filtered": lambda: png(7000, 5300, colour=6, row_filter=4),
    "png: 25 megapixels of 16-bit colour, filtered": lambda: png(7000, 3560, colour=2, bits=16, row_filter=4),
    "png: 37 megapixels RGBA, interlaced": lambda: png(7000, 5300, colour=6, interlaced=True),
    "png: 37 megapixels grey and alpha of 16 bit, filtered": lambda: png(
        7000, 5300, colour=4, bits=16, row_filter=4
    ),
    "png: 49 megapixels grey of 16 bit": lambda: png(7000, 7000, bits=16),
    "png: 79 megapixels grey, filtered": lambda: png(8000, 9900, row_filter=4),
    "png: 800,000 chunks without content": lambda: png_of_many_chunks(png_chunk(b"teSt", b""), 800_000),
    "png: pixels in 800,000 chunks": png_of_split_pixels,
    "webp: 24.9 megapixels": lambda: lossless_webp(6225, 4000),
    "webp: 200,000 frames": lambda: webp_of_frames(200_000),
    "ppm: 8 MB of comments": lambda: b"P6\n" + b"#\n" * (4 * MEGABYTE) + b"2 2 255\n" + bytes(12),
    "ppm: one comment of 8 MB": lambda: b"P6\n#" + b"x" * 8 * MEGABYTE + b"\n2 2 255\n" + bytes(12),
    "ppm: a header of spaces": lambda: b"P6\n" + b" " * (9 * MEGABYTE) + b"2 2 255\n" + bytes(12),
    "ppm: text with comments": lambda: b"P3\n2 2 255\n" + b"#\n" * (4 * MEGABYTE) + b"1 " * 12,
    "ppm: text": lambda: b"P3\n1300 1250 255\n" + b"1 " * (3 * 1300 * 1250),
    "ppm: bits as text": lambda: b"P1\n3100 3100\n" + b"1" * (3100 * 3100),
    "ppm: 4-bit grey": lambda: b"P5\n3100 3100 15\n" + bytes(3100 * 3100),
    "jpeg: 196 megapixels": lambda: blank_jpeg(14000, 14000),
    "gif: 79 megapixels": lambda: gif(7900, 10000),
    "gif: a comment of small blocks": lambda: gif_of_blocks(b"!\xfe" + b"\x01x" * 4_000_000 + b"\0"),
    "gif: junk": lambda: gif_of_blocks(b"\0"),
    "avif: 24 megapixels": lambda: avif(6000, 4000),
}
"""Files that are read, or break off, and take little: some at the limits, others that took seconds before."""
