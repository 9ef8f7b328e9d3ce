"""The image files that ``imaging`` reads: how to recognise a format, and which part of a file is the image.

Before Pillow reads a PNG, GIF, TIFF or AVIF, this module drops what does not change the first frame's pixels:
text, animation, vendor metadata. A hostile file then reaches less of the decoder, and damage in these parts
causes no warning.

Functions here raise ``ImageError`` for a file whose first bytes are no readable image. For a damaged file
they raise what parsing raises (``struct.error``, ``IndexError``, ``ValueError``, Pillow's own), and
``imaging`` turns it into an ``ImageError``.
"""

from __future__ import annotations

import ctypes
import io
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ghostclas.errors import ImageError
from ghostclas.image_formats.avif import check_tables
from ghostclas.image_formats.netpbm import to_binary

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


class Format(NamedTuple):
    """A file format that is read: the Pillow class that decodes it, and its peculiarities.

    ``signature_is_short`` marks formats that text could pass for; ``pillow_limit`` is the multiple of
    ``PIL.Image.MAX_IMAGE_PIXELS`` above which the decoder itself warns or refuses.
    """

    module: str
    decoder: str
    signature_is_short: bool = False
    pillow_limit: int | None = None


FORMATS: Mapping[str, Format] = {
    "JPEG": Format("JpegImagePlugin", "JpegImageFile"),
    "PNG": Format("PngImagePlugin", "PngImageFile"),
    "WebP": Format("WebPImagePlugin", "WebPImageFile", pillow_limit=2),
    "GIF": Format("GifImagePlugin", "GifImageFile"),
    "BMP": Format("BmpImagePlugin", "BmpImageFile", signature_is_short=True),
    "TIFF": Format("TiffImagePlugin", "TiffImageFile", pillow_limit=1),
    "PPM": Format("PpmImagePlugin", "PpmImageFile", signature_is_short=True),
    "AVIF": Format("AvifImagePlugin", "AvifImageFile"),
}

HEIC = "HEIC"
HEIC_EXTENSIONS = (".heic", ".heif", ".hif")
_HEIC_FORMAT = Format("pillow_heif", "HeifImageFile")
"""What phones write; the extra ``heic`` installs its decoder, pillow-heif on libheif."""

EXTENSIONS: Mapping[str, str] = {
    ".apng": "PNG",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".jpg_large": "JPEG",
    ".mpo": "JPEG",
    ".pbm": "PPM",
    ".pfm": "PPM",
    ".pgm": "PPM",
    ".pjpeg": "JPEG",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
}
"""The key in ``FORMATS`` for each file extension, in lower case."""

HEAD_BYTES = 2048
"""``signature`` needs at most so many of a file's first bytes."""

ORIENTATION_TAG = 0x0112

MAX_TIFF_SAMPLES = 6
"""Of a TIFF with more samples a pixel, Pillow would write a line of its own to standard error."""

MAX_GIF_BLOCKS = 10_000
"""So many comments and other extensions may come before the first frame of a GIF."""

MAX_TIFF_PARTS = 50_000
"""So many strips or tiles a TIFF may have: one a row in the tallest photos."""


_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb"....ftyp(avi[fs]|m[is]f1.{0,40}avi[fs])",
    "BMP": rb"BM",
    "PPM": rb"P[1-6f][\s#]",
}
_SHORT_SIGNATURES = {
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "PPM": rb"P[1-6f]\s+(#[^\n]*\n\s*)*-?\d+\s",
}
"""Longer signatures of the formats that text could pass for."""
_REFUSED_SIGNATURES = {
    "HEIC": rb"....ftyp(hei|hev|m[is]f1)",
    "video": rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "PSD": rb"8BPS",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "PDF": rb"%PDF",
    "SVG": rb"\s*(<\?xml.{0,200})?<svg",
    "icon": rb"\0\0[\x01\x02]\0",
}


@cache
def reads_heic() -> bool:
    """Return whether HEIC and HEIF are read here: pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


def format_of(kind: str) -> Format:
    """Return the row of a format that ``identify`` can return."""
    return _HEIC_FORMAT if kind == HEIC else FORMATS[kind]


def identify(name: str, data: bytes) -> str:
    """Return the key in ``FORMATS`` that the first bytes of the file match, or ``HEIC`` where it is read."""
    if not data:
        raise ImageError("empty", f"{name} is empty (0 bytes)")
    kind = _match(_SIGNATURES, data[:256])
    if kind is not None:
        return kind
    kind = _match(_REFUSED_SIGNATURES, data[:256])
    if kind == HEIC and reads_heic():
        return HEIC
    if kind is not None:
        extra = ", or: pip install 'ghostclas[heic]'" if kind == HEIC else ""
        raise ImageError(
            "unsupported", f"{name} holds {kind} data, which is not read; save it as JPEG or PNG{extra}"
        )
    raise _not_an_image(name)


def signature(head: bytes) -> str | None:
    """Return what the first ``HEAD_BYTES`` of a file say that it is, whatever its name.

    Returns:
        A key in ``FORMATS``, the name of another format such as ``"HEIC"``, or ``None``. It is stricter than
        ``identify``: a text that begins with "BM" is no picture.
    """
    kind = _match(_SIGNATURES, head)
    if kind in _SHORT_SIGNATURES:
        return kind if re.match(_SHORT_SIGNATURES[kind], head, re.DOTALL) else None
    return kind or _match(_REFUSED_SIGNATURES, head)


def _match(signatures: Mapping[str, bytes], head: bytes) -> str | None:
    return next((kind for kind, pattern in signatures.items() if re.match(pattern, head, re.DOTALL)), None)


def _not_an_image(name: str) -> ImageError:
    return ImageError("not_an_image", f"{name} is not an image: its content is none of {', '.join(FORMATS)}")


def open_image(name: str, kind: str, data: bytes) -> ImageFile:
    """Open an image: its header is read, its pixels are not decoded yet."""
    essential = _ESSENTIAL.get(kind)
    try:
        return _decoder(kind)(io.BytesIO(data if essential is None else essential(data)))
    except Exception:
        if format_of(kind).signature_is_short:
            raise _not_an_image(name) from None
        raise


def orientation(kind: str, data: bytes, image: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8, of a loaded image; 1 if it has none that can be read."""
    exif = data if kind == "TIFF" else (image.info.get("exif") or b"").removeprefix(b"Exif\0\0")
    try:
        layout = _tiff_layout(exif)
        for entry in _tiff_entries(exif, layout):
            if entry.tag == ORIENTATION_TAG:
                return int(struct.unpack_from(f"{layout.order}H", exif, entry.value_at)[0])
    except (struct.error, ValueError):
        return 1
    return 1


@cache
def _silence_libtiff() -> None:
    """Stop libtiff from writing to standard error; what it says also becomes Pillow's exception.

    Where Pillow contains libtiff instead of loading it, as on Windows, nothing can reach its handler.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(import_module("PIL._imaging").__file__).TIFFSetErrorHandler(None)


@cache
def _decoder(kind: str) -> Callable[[BinaryIO], ImageFile]:
    file_format = format_of(kind)
    if kind == "TIFF":
        _silence_libtiff()
    module = file_format.module if kind == HEIC else f"PIL.{file_format.module}"
    decoder: type[ImageFile] = getattr(import_module(module), file_format.decoder)
    if kind != "JPEG":
        return decoder
    # To find the resolution, Pillow parses the whole EXIF block, and warns if any of it is damaged.
    return type(file_format.decoder, (decoder,), {"_read_dpi_from_exif": lambda _: None})


_PNG_CHUNKS = {b"PLTE", b"tRNS"}
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def _essential_png(data: bytes) -> bytes:
    """Keep the chunks of the still image, its header first, and of its orientation; put all pixels into one.

    Without this, a long text chunk (image generators write them) makes Pillow refuse the file, a damaged
    animation makes it warn, and pixels in very many chunks take it seconds.
    """
    if data[12:16] != b"IHDR":
        raise ValueError("its header is not its first chunk")
    kept, pixels, exif, at, view = [data[:8]], list[memoryview](), b"", 8, memoryview(data)
    while at + 8 <= len(data):
        size, chunk = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        if chunk == b"IDAT":
            if size:
                pixels.append(view[at + 8 : end - 4])
        elif chunk == b"IEND":
            break
        elif chunk == b"eXIf":
            # Before the pixels, it says in time whether they will be turned.
            exif = bytes(view[at:end])
        elif at == 8 or (chunk in _PNG_CHUNKS and not pixels):
            kept.append(bytes(view[at:end]))
        at = end
    size = sum(map(len, pixels))
    # Pillow does not look at the checksum of pixels: they have one of their own.
    return b"".join([*kept, exif, struct.pack(">I", size), b"IDAT", *pixels, bytes(4), _PNG_END])


_GIF_BLOCK = re.compile(rb"[,!;]")


def _essential_gif(data: bytes) -> bytes:
    """Keep the first frame, on a canvas that holds it, and one palette: the frame's, or else the file's.

    Pillow enlarges the canvas by itself, and allocates in advance what the frame's disposal needs. If the
    frame's palette is of greys, it looks its pixels up in the file's palette.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = start = 13 + (6 << (flags & 7) if flags & 0x80 else 0)
    control, blocks = b"", 0
    while (block := data[at]) != ord(","):
        blocks += 1
        if blocks > MAX_GIF_BLOCKS:
            raise ValueError(f"over {MAX_GIF_BLOCKS:,} blocks before its first frame")
        if block == ord("!"):
            if data[at + 1 : at + 3] == b"\xf9\x04":
                control = b"!\xf9\x04" + bytes((data[at + 3] & 1, 0, 0, data[at + 6], 0))
            at += 2
            while size := data[at]:
                at += 1 + size
        elif block == ord(";"):
            raise EOFError
        # Pillow steps over what is no block, too.
        at += 1
        if data[at] not in b",!;":
            following = _GIF_BLOCK.search(data, at)
            at = following.start() if following else len(data)
    left, top, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
    canvas = struct.pack("<HH", max(width, left + frame_width), max(height, top + frame_height))
    if data[at + 9] & 0x80:
        return data[:6] + canvas + bytes((flags & 0x7F,)) + data[11:13] + control + data[at:]
    return data[:6] + canvas + data[10:start] + control + data[at:]


class _TiffLayout(NamedTuple):
    """How a classic or a big TIFF writes a directory, as formats of ``struct``, and where its first is."""

    order: str
    entry: str
    length: str
    pointer: str
    directory: int


class _TiffEntry(NamedTuple):
    tag: int
    kind: int
    values: int
    raw: bytes
    value_at: int


_TIFF_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_TIFF_SINGLE_TAGS = {256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323}
_TIFF_TAGS = _TIFF_SINGLE_TAGS | {258, 273, 279, 320, 324, 325, 338, 339, 347, 530, 532}
_TIFF_BYTE = 1
_TIFF_HEADER = 8
_TIFF_LENGTH_TAGS = {279, 325}
_TIFF_PART_TAGS = _TIFF_LENGTH_TAGS | {273, 324}
_TIFF_SAMPLES_TAG = 277
_TIFF_COMPRESSION_TAG = 259
_TIFF_COMPRESSIONS = {*range(1, 9), 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000, 50001}
_TIFF_UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_WHOLE = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"}


def _tiff_layout(data: bytes) -> _TiffLayout:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("no byte order mark")
    if struct.unpack_from(f"{order}H", data, 2) == (43,):
        return _TiffLayout(order, "HHQ", "Q", "Q", *struct.unpack_from(f"{order}Q", data, 8))
    return _TiffLayout(order, "HHI", "H", "I", *struct.unpack_from(f"{order}I", data, 4))


def _tiff_entries(data: bytes, layout: _TiffLayout) -> Iterator[_TiffEntry]:
    """Read the first directory; a value that fits into a pointer lies at the end of its entry."""
    order, inline = layout.order, struct.calcsize(f"={layout.pointer}")
    width = struct.calcsize(f"={layout.entry}") + inline
    (count,) = struct.unpack_from(f"{order}{layout.length}", data, layout.directory)
    first = layout.directory + struct.calcsize(f"={layout.length}")
    for at in range(first, first + count * width, width):
        tag, kind, values = struct.unpack_from(f"{order}{layout.entry}", data, at)
        value_at = at + width - inline
        if values * _TIFF_VALUE_BYTES.get(kind, 0) > inline:
            (value_at,) = struct.unpack_from(f"{order}{layout.pointer}", data, value_at)
        if at + width > len(data):
            raise ValueError("its directory breaks off")
        yield _TiffEntry(tag, kind, values, data[at : at + width], value_at)


def _essential_tiff(data: bytes) -> bytes:
    """Keep the entries of the first directory that its pixels depend on.

    Pillow reads every other entry, too, warns about many that are harmless, and turns the image by itself.
    """
    layout = _tiff_layout(data)
    if layout.directory < _TIFF_HEADER:
        raise ValueError("its directory lies in its header")
    if (layout.order, layout.pointer) == (">", "Q"):
        # Pillow takes its second byte for that of a classic TIFF.
        raise ValueError("BigTIFF in big-endian order is not supported")
    kept, used = [], 0
    for entry in _tiff_entries(data, layout):
        if entry.tag not in _TIFF_TAGS or entry.kind not in _TIFF_VALUE_BYTES:
            continue
        if entry.values != 1 and (entry.tag in _TIFF_SINGLE_TAGS or entry.kind == _TIFF_BYTE):
            raise ValueError(f"tag {entry.tag} has {entry.values} values instead of one")
        if entry.tag in _TIFF_SINGLE_TAGS and entry.kind not in _TIFF_WHOLE:
            raise ValueError(f"tag {entry.tag} is no number")
        size = entry.values * _TIFF_VALUE_BYTES[entry.kind]
        used += size
        if max(entry.value_at + size, used) > len(data):
            raise ValueError(f"the values of tag {entry.tag} lie outside the file")
        if entry.tag == _TIFF_SAMPLES_TAG and entry.kind in _TIFF_UNSIGNED:
            (samples,) = struct.unpack_from(layout.order + _TIFF_UNSIGNED[entry.kind], data, entry.value_at)
            if samples > MAX_TIFF_SAMPLES:
                raise ValueError(f"{samples:,} samples a pixel are not supported")
        if entry.tag == _TIFF_COMPRESSION_TAG:
            _check_tiff_compression(data, layout, entry)
        if entry.tag in _TIFF_PART_TAGS:
            _check_tiff_parts(data, layout, entry)
        kept.append(entry.raw)
    next_directory = bytes(struct.calcsize(f"={layout.pointer}"))
    table = struct.pack(f"{layout.order}{layout.length}", len(kept)) + b"".join(kept) + next_directory
    return data[: layout.directory] + table + data[layout.directory + len(table) :]


def _check_tiff_compression(data: bytes, layout: _TiffLayout, entry: _TiffEntry) -> None:
    """Refuse what Pillow has no name for: its exception holds the number alone."""
    (compression,) = struct.unpack_from(layout.order + _TIFF_WHOLE[entry.kind], data, entry.value_at)
    if compression not in _TIFF_COMPRESSIONS:
        raise ValueError(f"compression {compression} is not supported")


def _check_tiff_parts(data: bytes, layout: _TiffLayout, entry: _TiffEntry) -> None:
    """Refuse more strips or tiles than a photo has, and those that lie over each other."""
    if entry.values > MAX_TIFF_PARTS:
        raise ValueError(f"{entry.values:,} strips or tiles, the limit is {MAX_TIFF_PARTS:,}")
    if entry.tag in _TIFF_LENGTH_TAGS and entry.values > 1 and entry.kind in _TIFF_UNSIGNED:
        kind = _TIFF_UNSIGNED[entry.kind]
        sizes = struct.unpack_from(f"{layout.order}{entry.values}{kind}", data, entry.value_at)
        if sum(sizes) > 2 * len(data):
            raise ValueError("its strips or tiles lie over each other")


def _essential_avif(data: bytes) -> bytes:
    """Hide the EXIF item: the AVIF image's own properties define its orientation, not EXIF."""
    check_tables(data)
    return re.sub(rb"(infe\x02.{7}|infe\x03.{9})Exif", rb"\1skip", data, flags=re.DOTALL)


def _checked_heic(data: bytes) -> bytes:
    check_tables(data)
    return data


_ESSENTIAL: Mapping[str, Callable[[bytes], bytes]] = {
    "PNG": _essential_png,
    "GIF": _essential_gif,
    "TIFF": _essential_tiff,
    "PPM": to_binary,
    "AVIF": _essential_avif,
    HEIC: _checked_heic,
}
