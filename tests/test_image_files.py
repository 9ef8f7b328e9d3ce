"""Which format an image file is, and which part of it makes the picture."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from ghostclas import image_files
from ghostclas.imaging import decode
from tests.images import ENCODERS, encode, exif, png_chunk, png_with, stored
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
