"""Makes image files for tests: good ones of every kind, odd ones, and bad ones with the code each gets."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

ENCODERS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WebP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "PPM": {},
    "AVIF": {"quality": 90},
}
"""Every format that is read, with options for Pillow's encoder."""

LOSSLESS = ("PNG", "WebP", "BMP", "TIFF", "PPM")


def photo(width: int, height: int, seed: int = 0) -> Pixels:
    """Return smooth, colourful pixels without any symmetry: uint8 ``[height, width, 3]``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = y / max(height - 1, 1), x / max(width - 1, 1)
    channels = []
    for _ in range(3):
        fx, fy, phase = rng.uniform(1, 5), rng.uniform(1, 5), rng.uniform(0, 6)
        channels.append(0.5 + 0.25 * np.sin(fx * x + 2 * fy * y + phase) + 0.25 * (x - y) * np.cos(fy * x))
    return np.asarray(np.rint(255 * np.clip(np.stack(channels, axis=-1), 0, 1)), dtype=np.uint8)


def encode(image: Image.Image | NDArray[Any], file_format: str = "PNG", **options: Any) -> bytes:
    """Return the image as a file's bytes; ``options`` go to Pillow's encoder."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **{**ENCODERS.get(file_format, {}), **options})
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    """Return an EXIF block with an orientation and two tags around it."""
    block = Image.Exif()
    block[0x010F] = "a camera"
    block[0x0112] = orientation
    block[0x011A] = 72.0
    return block


def stored(upright: Pixels, orientation: int) -> Pixels:
    """Return how a camera that writes ``orientation`` stores the pixels of an upright picture."""
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    return np.ascontiguousarray(turned[orientation])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunk: bytes, *, before: bytes = b"IDAT", pixels: Pixels | None = None) -> bytes:
    """Return a PNG with one more chunk before its first chunk of a kind."""
    data = encode(photo(60, 40) if pixels is None else pixels)
    at = data.index(before) - 4
    return data[:at] + chunk + data[at:]


def huge_png(width: int, height: int) -> bytes:
    """Return a small file whose header promises ``width x height`` pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = (
        png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + content


def huge_jpeg(width: int, height: int) -> bytes:
    """Return a small file whose frame header promises ``width x height`` pixels."""
    data = bytearray(encode(photo(64, 48), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def huge_gif(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """Return a small file whose headers promise a canvas and a first frame of these sizes."""
    header = b"GIF89a" + struct.pack("<HH", *canvas) + bytes(3)
    return header + b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\x02\x00;"


def animation(file_format: str, *frames: Pixels) -> bytes:
    """Return an animated GIF, WebP or PNG."""
    first, *rest = map(Image.fromarray, frames)
    return encode(first, file_format, save_all=True, append_images=rest, duration=100)


class BadImage(NamedTuple):
    """A file that must be refused with ``code``, in a message that holds ``words``."""

    data: bytes
    code: str
    words: str


def bad_images() -> dict[str, BadImage]:
    """Return bad files by name; the names are file names, some of which lie."""
    jpeg, png = encode(photo(300, 200), "JPEG"), encode(photo(300, 200))
    tiff = encode(photo(60, 40), "TIFF")
    jpeg_12_bit = jpeg.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
    return {
        "empty.jpg": BadImage(b"", "empty", "is empty"),
        "text.jpg": BadImage(b"These are not pixels.\n" * 9, "not_an_image", "not an image"),
        "zeros.png": BadImage(bytes(4096), "not_an_image", "JPEG, PNG"),
        "bmw.bmp": BadImage(b"BMW makes cars. " * 9, "not_an_image", "BMP"),
        "p5.pgm": BadImage(b"P5 comes after P4, as everybody knows.", "not_an_image", "PPM"),
        "half.jpg": BadImage(jpeg[: len(jpeg) // 2], "truncated", "cut short or damaged (JPEG"),
        "header-only.jpg": BadImage(jpeg[:200], "truncated", "cut short or damaged (JPEG"),
        "signature-only.jpg": BadImage(jpeg[:3], "truncated", "cut short or damaged (JPEG"),
        "half.png": BadImage(png[: len(png) // 2], "truncated", "cut short or damaged (PNG"),
        "signature-only.png": BadImage(png[:8], "truncated", "cut short or damaged (PNG"),
        "half.webp": BadImage(encode(photo(300, 200), "WebP")[:400], "truncated", "WebP"),
        "half.gif": BadImage(encode(photo(300, 200), "GIF")[:2000], "truncated", "GIF"),
        "no-frame.gif": BadImage(b"GIF89a\x05\0\x05\0\0\0\0;", "truncated", "GIF"),
        "signature-only.gif": BadImage(b"GIF89a", "truncated", "breaks off"),
        "half.bmp": BadImage(encode(photo(300, 200), "BMP")[:9000], "truncated", "BMP"),
        "half.tiff": BadImage(tiff[: len(tiff) // 2], "truncated", "TIFF"),
        "signature-only.tiff": BadImage(tiff[:4], "truncated", "TIFF"),
        "half.ppm": BadImage(encode(photo(300, 200), "PPM")[:9000], "truncated", "PPM"),
        "half.avif": BadImage(encode(photo(300, 200), "AVIF")[:700], "truncated", "AVIF"),
        "huge.png": BadImage(huge_png(20000, 20000), "too_large", "20000 x 20000 = 400,000,000 pixels"),
        "huge.jpg": BadImage(huge_jpeg(60000, 60000), "too_large", "the limit is 200,000,000"),
        "huge.gif": BadImage(huge_gif((65535, 65535), (1, 1)), "too_large", "65535 x 65535"),
        "stretched.gif": BadImage(huge_gif((1, 1), (65535, 65535)), "too_large", "65535 x 65535"),
        "print.eps": BadImage(b"%!PS-Adobe-3.0 EPSF-3.0\n", "unsupported", "PostScript"),
        "layers.psd": BadImage(encode_psd(), "unsupported", "PSD"),
        "phone.jxl": BadImage(b"\0\0\0\x0cJXL " + bytes(99), "unsupported", "JPEG XL"),
        "page.pdf": BadImage(b"%PDF-1.7\n" + bytes(99), "unsupported", "PDF"),
        "drawing.svg": BadImage(b'<?xml version="1.0"?>\n<svg width="9" height="9"/>', "unsupported", "SVG"),
        "clip.mp4": BadImage(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2" + bytes(99), "unsupported", "video"),
        "site.ico": BadImage(encode(photo(32, 32), "ICO"), "unsupported", "icon"),
        "scan.jp2": BadImage(encode(photo(64, 48), "JPEG2000"), "unsupported", "JPEG 2000"),
        "deep.tiff": BadImage(encode(np.full((9, 9), 70000, np.int32), "TIFF"), "unsupported", "70000"),
        "negative.tiff": BadImage(encode(np.full((9, 9), -1.0, np.float32), "TIFF"), "unsupported", "-1.0"),
        "nan.tiff": BadImage(encode(np.full((9, 9), np.nan, np.float32), "TIFF"), "unsupported", "nan"),
        "12bit.jpg": BadImage(jpeg_12_bit, "unsupported", "12-bit"),
    }


def encode_psd() -> bytes:
    """Return a whole Photoshop file of 2 x 2 pixels, which Pillow by itself would open."""
    return b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 2, 2, 8, 3) + bytes(12) + b"\0\0" + bytes(12)


def write_photo(path: Path, *, seed: int = 0) -> Path:
    """Write a generated JPEG of 60 x 50 pixels to ``path`` and return it."""
    path.write_bytes(encode(photo(60, 50, seed), "JPEG"))
    return path
