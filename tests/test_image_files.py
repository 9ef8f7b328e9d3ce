"""Which format an image file is, and which part of it makes the picture."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostclas import image_files
from ghostclas.errors import ImageError
from ghostclas.imaging import decode
from tests.images import ENCODERS, encode, exif, photo, png_chunk, png_with, stored
from tests.limited import run_python
from tests.pixels import PIXELS, pixels_of


def test_every_format_has_a_test() -> None:
    assert set(image_files.FORMATS) == set(ENCODERS)


@pytest.mark.parametrize("file_format", ENCODERS)
def test_the_content_decides_not_the_name(file_format: str, tmp_path: Path) -> None:
    path = tmp_path / "holiday.eps"
    path.write_bytes(encode(PIXELS, file_format))
    assert decode(path).size == (60, 40)
    assert decode(str(path)).size == (60, 40)


def test_long_text_in_a_png_does_not_stop_it() -> None:
    text = png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"a cat, " * 1_000_000))
    np.testing.assert_array_equal(pixels_of(png_with(text, pixels=PIXELS)), PIXELS)


def test_a_broken_animation_in_a_png_does_not_stop_it() -> None:
    control = png_chunk(b"acTL", bytes(8))
    np.testing.assert_array_equal(pixels_of(png_with(control + control, pixels=PIXELS)), PIXELS)


def test_a_png_begins_with_its_header() -> None:
    other = png_chunk(b"tEXt", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    with pytest.raises(ImageError, match="its header is not its first chunk") as caught:
        decode(png_with(other, before=b"IHDR", pixels=PIXELS))
    assert caught.value.code == "truncated"


def test_a_second_header_of_a_png_changes_nothing() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 3, 8, 2, 0, 0, 0))
    np.testing.assert_array_equal(pixels_of(png_with(header, pixels=PIXELS)), PIXELS)


@pytest.mark.parametrize("transparent", [False, True])
def test_a_gif_frame_with_greys_of_its_own_is_grey(transparent: bool) -> None:
    image = Image.fromarray(PIXELS).quantize(32)
    data = encode(image, "GIF", interlace=0)
    frame = data.index(b",", 13 + 96)
    greys = bytes(level for level in range(32) for _ in range(3))
    control = b"!\xf9\x04\x01\0\0\xff\0" if transparent else b""
    made = data[:frame] + control + data[frame : frame + 9] + b"\x84" + greys + data[frame + 10 :]
    np.testing.assert_array_equal(pixels_of(made), np.repeat(np.asarray(image)[..., None], 3, axis=2))


def test_a_tiff_says_what_is_not_read() -> None:
    data = bytearray(encode(PIXELS, "TIFF"))
    at = data.index(struct.pack("<HHI", 259, 3, 1))
    data[at + 8 : at + 10] = struct.pack("<H", 34712)
    with pytest.raises(ImageError, match=r"not read \(compression 34712 is not supported\); save it as PNG"):
        decode(bytes(data))
    with pytest.raises(ImageError, match="BigTIFF in big-endian order is not supported"):
        decode(struct.pack(">2sHHHQQQ", b"MM", 43, 8, 0, 16, 0, 0))


def test_orientation_at_the_end_of_a_png_counts() -> None:
    block = exif(3).tobytes().removeprefix(b"Exif\0\0")
    data = png_with(png_chunk(b"eXIf", block), before=b"IEND", pixels=stored(PIXELS, 3))
    np.testing.assert_array_equal(pixels_of(data), PIXELS)


@pytest.mark.parametrize("length", range(0, 60, 4))
def test_a_damaged_exif_block_does_not_stop_a_photo(length: int) -> None:
    block = exif(1).tobytes()[:length]
    for file_format in ("JPEG", "PNG", "WebP"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert decode(encode(PIXELS, file_format, exif=block)).size == (60, 40)
        assert not caught


def test_a_damaged_exif_block_in_an_avif_is_not_even_read() -> None:
    block = exif(1).tobytes().removeprefix(b"Exif\0\0")
    data = encode(PIXELS, "AVIF", exif=exif(1))
    at = data.index(block[:8])
    damaged = data[: at + 8] + b"\xff" * 8 + data[at + 16 :]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(pixels_of(damaged), pixels_of(data))
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Pillow contains libtiff there")
def test_libtiff_and_pillow_write_nothing_to_standard_error() -> None:
    code = """
import random
from PIL import Image
from ghostclas.imaging import ImageError, decode
from tests.images import encode, photo
rng, refused = random.Random(0), 0
files = [encode(photo(60, 40), "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg")]
files += [encode(Image.new("1", (60, 40)), "TIFF", compression=kind) for kind in ("group3", "group4")]
for _ in range(400):
    data = bytearray(rng.choice(files))
    for _ in range(3):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        decode(bytes(data))
    except ImageError:
        refused += 1
print(refused > 100)
"""
    outcome = run_python(code)
    assert (outcome.stdout, outcome.stderr) == ("True\n", "")


def test_the_formats_that_pillow_decodes_in_python_are_known() -> None:
    """Each is as slow as a microsecond a pixel: it is converted before (PPM) or kept small (BMP)."""
    for file_format in image_files.FORMATS.values():
        import_module(f"PIL.{file_format.module}")
    modules = {f"PIL.{file_format.module}" for file_format in image_files.FORMATS.values()}
    slow = {name for name, decoder in Image.DECODERS.items() if decoder.__module__ in modules}
    assert slow == {"bmp_rle", "ppm", "ppm_plain"}


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strips_and_tiles_of_a_photo_are_read(rows: int) -> None:
    pixels = photo(60, 40)
    for compression in ("raw", "tiff_lzw"):
        data = encode(pixels, "TIFF", compression=compression, tiffinfo={278: rows})
        np.testing.assert_array_equal(np.asarray(decode(data)), pixels)


def test_pixels_in_many_chunks_of_a_png_are_one_picture() -> None:
    pixels = photo(60, 40)
    data = encode(pixels)
    at = data.index(b"IDAT") - 4
    (size,) = struct.unpack_from(">I", data, at)
    content = data[at + 8 : at + 8 + size]
    chunks = b"".join(png_chunk(b"IDAT", content[i : i + 7]) for i in range(0, size, 7))
    np.testing.assert_array_equal(np.asarray(decode(data[:at] + chunks + png_chunk(b"IEND", b""))), pixels)


def test_a_tiff_directory_that_breaks_off_is_refused_without_a_warning() -> None:
    data = encode(photo(60, 40)[..., 0], "TIFF", compression="tiff_lzw")
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    end = directory + 2 + 12 * count
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for missing in range(1, 12):
            with pytest.raises(ImageError, match="cut short or damaged"):
                decode(data[: end - missing])
    assert caught == []


def heif(pixels: Any, **options: Any) -> bytes:
    """Return pixels as a phone stores them; skip where no encoder is installed."""
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    try:
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=95, **options)
    except RuntimeError as error:
        pytest.skip(f"this libheif has no encoder: {error}")
    return buffer.getvalue()


def test_photos_of_phones_are_read_by_their_extra() -> None:
    pixels = photo(300, 200)
    data = heif(pixels)
    assert image_files.identify("a", data) == "HEIC"
    shown = np.asarray(decode(data, short_side=32), np.int16)
    assert shown.shape == (200, 300, 3)
    assert np.abs(shown - pixels).mean() < 3


def test_photos_of_phones_are_upright() -> None:
    pixels = photo(300, 200)
    data = heif(stored(pixels, 6), exif=exif(6).tobytes())
    for asked in (True, False):
        # libheif turns by the file's own boxes, which is no choice of the reader.
        assert decode(data, exif=asked).size == (300, 200)


def test_a_damaged_photo_of_a_phone_is_an_error_of_one_line() -> None:
    data = heif(photo(300, 200))
    for end in (40, len(data) // 2, len(data) - 9):
        with pytest.raises(ImageError) as caught:
            decode(data[:end])
        assert caught.value.code in ("truncated", "unsupported")
        assert "\n" not in str(caught.value)


def test_without_the_extra_a_photo_of_a_phone_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "reads_heic", lambda: False)
    with pytest.raises(ImageError, match=r"HEIC data, which is not read; .* pip install 'ghostclas\[heic\]'"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
