"""One way from a photo to pixels, whatever the file; and from logits to ranked scores."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ghostclas import imaging
from ghostclas.errors import GhostclasError, ImageError, UsageError
from ghostclas.imaging import (
    ImageSource,
    crop_box,
    decode,
    fit,
    opencv_resize,
    preprocess,
    softmax,
    top_k,
    whole_size,
)
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.images import (
    ENCODERS,
    LOSSLESS,
    BadImage,
    animation,
    bad_images,
    encode,
    exif,
    huge_png,
    photo,
    png_chunk,
    stored,
)
from tests.limited import run_python
from tests.pixels import PIXELS, Array, pixels_of

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
BAD = bad_images()


def spec(
    short_side: int = 256, crop: int = 224, interpolation: Any = "bilinear", **fields: Any
) -> PreprocessSpec:
    antialias = fields.pop("antialias", True)
    resize = ResizeSpec(short_side=short_side, interpolation=interpolation, antialias=antialias)
    return PreprocessSpec(resize=resize, crop=crop, **fields)


def code_of(source: Any, words: str = "") -> str:
    with pytest.raises(ImageError) as caught:
        decode(source)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize(
    "case", [*CASES["preprocess"], *CASES["preprocess_whole"]], ids=lambda case: case["expected"]
)
def test_pixels_equal_the_golden_vectors(case: dict[str, Any]) -> None:
    expected = np.asarray(Image.open(GOLDEN / "expected" / case["expected"])).astype(int)
    got = preprocess(GOLDEN / "images" / case["image"], PreprocessSpec.model_validate(case["spec"]))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= case["tolerance"]


@pytest.mark.parametrize("case", CASES["scores"], ids=lambda case: str(case["logits"]))
def test_scores_equal_the_golden_vectors(case: dict[str, Any]) -> None:
    scores = softmax([case["logits"]], case["temperature"])
    np.testing.assert_allclose(scores, [case["softmax"]], atol=1e-6)
    assert top_k(scores, case["k"]).tolist() == [case["top"]]


def test_every_golden_file_is_used_and_small() -> None:
    for folder, key in (("images", "image"), ("expected", "expected")):
        used = {case[key] for case in (*CASES["preprocess"], *CASES["preprocess_whole"])}
        assert {path.name for path in (GOLDEN / folder).iterdir()} == used
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 300_000


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_lossless_files_decode_to_the_very_pixels(file_format: str) -> None:
    np.testing.assert_array_equal(pixels_of(encode(PIXELS, file_format)), PIXELS)


@pytest.mark.parametrize("file_format", sorted(set(ENCODERS) - set(LOSSLESS)))
def test_lossy_files_decode_to_nearby_pixels(file_format: str) -> None:
    difference = pixels_of(encode(PIXELS, file_format)).astype(int) - PIXELS
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WebP"])
def test_an_animation_is_its_first_frame(file_format: str) -> None:
    first = photo(60, 40, seed=1) // 64 * 64
    data = animation(file_format, first, 255 - first, first // 2)
    if file_format == "GIF":
        np.testing.assert_array_equal(pixels_of(data), pixels_of(encode(first, "GIF")))
    else:
        np.testing.assert_array_equal(pixels_of(encode(first, file_format)), first)
        difference = pixels_of(data).astype(int) - first
        assert np.abs(difference).mean() < 4


def test_a_gif_frame_beside_its_canvas_is_kept() -> None:
    data = bytearray(encode(Image.fromarray(PIXELS[..., 0]), "GIF"))
    data[6:10] = struct.pack("<HH", 2, 3)
    assert decode(bytes(data)).size == (60, 40)


def over_white(rgb: Array, alpha: Array) -> Array:
    rgb, alpha = rgb.astype(int), alpha.astype(int)[..., None]
    return (2 * (rgb * alpha + 255 * (255 - alpha)) + 255) // 510


def test_rgba_is_composited_over_white() -> None:
    rgba = np.dstack([PIXELS, photo(60, 40, seed=5)[..., 0]])
    for source in (encode(rgba), rgba, Image.fromarray(rgba)):
        np.testing.assert_array_equal(pixels_of(source), over_white(PIXELS, rgba[..., 3]))


def test_grey_with_alpha_is_composited_over_white() -> None:
    grey, alpha = PIXELS[..., 0], PIXELS[..., 1]
    source = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    expected = over_white(np.dstack([grey] * 3), alpha)
    np.testing.assert_array_equal(pixels_of(source), expected)
    np.testing.assert_array_equal(pixels_of(encode(source)), expected)


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_unusual_transparency_is_composited_over_white(mode: str) -> None:
    source = Image.new({"La": "LA", "RGBa": "RGBA", "PA": "P"}[mode], (2, 1)).convert(mode)
    if mode == "PA":
        source.putalpha(0)
    np.testing.assert_array_equal(pixels_of(source), np.full((1, 2, 3), 255))


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palette_transparency_is_composited_over_white(file_format: str, transparency: int | bytes) -> None:
    if file_format == "GIF" and isinstance(transparency, bytes):
        transparency = 1
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    pixels = pixels_of(encode(image, file_format, transparency=transparency))
    alpha = [255, 0, 255] if isinstance(transparency, int) else list(transparency)
    np.testing.assert_array_equal(pixels, over_white(200 * np.eye(3, dtype=int)[None], np.array([alpha])))


def test_a_palette_without_transparency_keeps_its_colours() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    np.testing.assert_array_equal(pixels_of(encode(image)), 200 * np.eye(3, dtype=int)[None])


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_transparent_colour_becomes_white(mode: str) -> None:
    pixels = {"L": [[9, 50]], "RGB": [[[9, 9, 9], [50, 50, 50]]], "I;16": [[9 * 257, 50 * 257]]}[mode]
    image = Image.fromarray(np.array(pixels, np.uint16 if mode == "I;16" else np.uint8))
    key = {"L": 9, "RGB": (9, 9, 9), "I;16": 9 * 257}[mode]
    np.testing.assert_array_equal(pixels_of(encode(image, transparency=key)), [[[255] * 3, [50] * 3]])


def test_1_bit_is_black_and_white() -> None:
    bits = np.array([[0, 255, 0, 255, 255]], np.uint8)
    for file_format in ("PNG", "BMP", "TIFF", "PPM"):
        data = encode(Image.fromarray(bits).convert("1"), file_format)
        np.testing.assert_array_equal(pixels_of(data)[..., 1], bits)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    wide = np.arange(0, 65536, 7, dtype=np.uint16).reshape(1, -1)
    expected = np.rint(wide / 257)
    np.testing.assert_array_equal(pixels_of(encode(wide, file_format))[..., 2], expected)


def test_16_bit_big_endian_and_32_bit_grey_are_scaled_alike() -> None:
    wide = np.array([[0, 257, 30000, 65535]])
    big = Image.frombytes("I;16B", (4, 1), wide.astype(">u2").tobytes())
    for source in (big, Image.fromarray(wide.astype(np.int32)), encode(wide.astype(np.int32), "TIFF")):
        assert pixels_of(source)[0, :, 0].tolist() == [0, 1, 117, 255]


def test_16_bit_colour_keeps_its_high_byte() -> None:
    wide = np.array([[[65535, 0x1234, 0x80FF]]], ">u2")
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + wide.tobytes())), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    assert pixels_of(data).tolist() == [[[255, 0x12, 0x80]]]


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floating_point_grey_spans_the_range_it_needs(top: float) -> None:
    values = np.array([[0, 0.5, 1]], np.float32) * np.float32(top)
    assert pixels_of(encode(values, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floating_point_grey_that_overshoots_its_range_is_clipped_not_darkened(top: float) -> None:
    values = np.array([[-0.02, 0.5, 1, 1.02]], np.float32) * np.float32(top)
    assert pixels_of(encode(values, "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("values", [[-1, 1], [0, 1e5], [0, np.nan], [-np.inf, 1]])
def test_floating_point_grey_outside_every_range_is_refused(values: list[float]) -> None:
    with pytest.raises(ImageError, match="grey values from"):
        imaging.decode(encode(np.array([values], np.float32), "TIFF"))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    if mode == "LAB":
        image = Image.frombytes("LAB", (1, 1), bytes([137, 208, 195]))
        assert np.abs(pixels_of(image)[0, 0].astype(int) - [0, 128, 255]).max() < 60
    else:
        image = Image.new("RGB", (4, 4), (200, 40, 90)).convert(mode)
        assert np.abs(pixels_of(image).astype(int) - [200, 40, 90]).max() <= 4


def test_cmyk_jpeg_is_not_a_negative() -> None:
    image = Image.new("RGB", (32, 32), (200, 40, 90))
    pixels = pixels_of(encode(image.convert("CMYK"), "JPEG", quality=100)).astype(int)
    assert np.abs(pixels - [200, 40, 90]).max() <= 3


def test_tiff_of_both_byte_orders_and_sizes_decode(tmp_path: Path) -> None:
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        data = encode(PIXELS, "TIFF", compression=compression)
        np.testing.assert_array_equal(pixels_of(data), PIXELS)
    np.testing.assert_array_equal(pixels_of(encode(PIXELS, "TIFF", big_tiff=True)), PIXELS)
    big_endian = encode(Image.frombytes("I;16B", (2, 1), b"\x01\x01\xff\xff"), "TIFF")
    assert big_endian.startswith(b"MM")
    assert pixels_of(big_endian)[0, :, 0].tolist() == [1, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}], ids=str)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WebP"])
def test_exif_turns_the_image_upright(file_format: str, options: dict[str, Any], orientation: int) -> None:
    if options and file_format != "TIFF":
        options = {}
    data = encode(stored(PIXELS, orientation), file_format, exif=exif(orientation), **options)
    np.testing.assert_array_equal(pixels_of(data), PIXELS)
    np.testing.assert_array_equal(pixels_of(data, exif=False), stored(PIXELS, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "AVIF"])
def test_exif_turns_lossy_images_upright(file_format: str, orientation: int) -> None:
    data = encode(stored(PIXELS, orientation), file_format, exif=exif(orientation), quality=95)
    assert np.abs(pixels_of(data).astype(int) - PIXELS).mean() < 3
    assert np.abs(pixels_of(data, exif=False).astype(int) - stored(PIXELS, orientation)).mean() < 3


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_of_a_pillow_image_is_honoured(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(stored(PIXELS, orientation), exif=exif(orientation)))
    with Image.open(path) as image:
        np.testing.assert_array_equal(pixels_of(image), PIXELS)
        np.testing.assert_array_equal(np.asarray(image), stored(PIXELS, orientation))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_is_ignored(orientation: int) -> None:
    np.testing.assert_array_equal(pixels_of(encode(PIXELS, exif=exif(orientation))), PIXELS)


def test_the_prediction_crop_turns_too() -> None:
    data = encode(stored(PIXELS, 6), exif=exif(6))
    np.testing.assert_array_equal(preprocess(data, spec()), preprocess(PIXELS, spec()))
    unturned = preprocess(stored(PIXELS, 6), spec())
    np.testing.assert_array_equal(preprocess(data, spec(exif=False)), unturned)


@pytest.mark.parametrize(
    ("width", "height", "short_side", "scaled"),
    [
        (640, 480, 256, (640, 480)),
        (640, 511, 128, (640, 511)),
        (640, 512, 128, (320, 256)),
        (1023, 2048, 128, (512, 1024)),
        (1027, 1024, 128, (257, 256)),
        (1025, 2050, 32, (129, 257)),
        (60, 2000, 32, (60, 2000)),
    ],
)
def test_large_jpegs_are_scaled_by_the_decoder(
    width: int, height: int, short_side: int, scaled: tuple[int, int]
) -> None:
    data = encode(photo(width, height), "JPEG")
    assert decode(data).size == (width, height)
    assert decode(data, short_side=short_side).size == scaled


def test_a_turned_jpeg_is_scaled_by_the_same_rule() -> None:
    data = encode(stored(photo(640, 512), 6), "JPEG", exif=exif(6))
    assert decode(data, short_side=128).size == (320, 256)


def test_a_jpeg_that_need_not_be_scaled_is_decoded_bit_for_bit() -> None:
    data = encode(photo(640, 480), "JPEG")
    np.testing.assert_array_equal(pixels_of(data, short_side=256), pixels_of(data))
    np.testing.assert_array_equal(preprocess(data, spec()), fit(decode(data), spec()))


def test_scaling_by_the_decoder_hardly_changes_the_result() -> None:
    data = encode(photo(1600, 1200), "JPEG", quality=95)
    scaled, whole = preprocess(data, spec(128, 96)).astype(int), fit(decode(data), spec(128, 96))
    assert np.abs(scaled - whole).max() <= 3


@pytest.mark.parametrize("options", [{"antialias": False}, {"interpolation": "nearest"}])
def test_without_antialiasing_the_decoder_does_not_scale(options: dict[str, Any]) -> None:
    data = encode(photo(800, 600), "JPEG")
    np.testing.assert_array_equal(
        preprocess(data, spec(64, 64, **options)), fit(decode(data), spec(64, 64, **options))
    )


def test_other_formats_are_never_scaled() -> None:
    assert decode(encode(photo(640, 512)), short_side=32).size == (640, 512)


@given(
    width=st.integers(1, 30000),
    height=st.integers(1, 30000),
    short_side=st.integers(32, 600),
    crop=st.integers(1, 18).map(lambda n: 32 * n),
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_the_box_is_a_centred_square_inside_the_image(
    width: int, height: int, short_side: int, crop: int
) -> None:
    wanted = spec(max(short_side, crop), crop)
    left, top, right, bottom = crop_box(width, height, wanted)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    output_pixel = min(width, height) / wanted.resize.short_side
    assert right - left == pytest.approx(crop * output_pixel)
    assert bottom - top == pytest.approx(crop * output_pixel)
    assert -1e-6 <= (width - left - right) / output_pixel < 2 + 1e-6
    assert left / output_pixel == pytest.approx(round(left / output_pixel), abs=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 64), (91, 64), (64, 99)])
def test_an_image_of_the_right_size_is_cut_not_resampled(width: int, height: int, interpolation: str) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, left = (height - 32) // 2, (width - 32) // 2
    expected = pixels[top : top + 32, left : left + 32]
    np.testing.assert_array_equal(preprocess(pixels, spec(64, 32, interpolation)), expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_without_antialiasing_an_image_of_the_right_size_is_cut_too(interpolation: str) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (64, 91, 3), dtype=np.uint8)
    cut = preprocess(pixels, spec(64, 32, interpolation, antialias=False))
    np.testing.assert_array_equal(cut, pixels[16:48, 29:61])


FILTERS: dict[str, tuple[float, Callable[[float], float]]] = {
    "bilinear": (1, lambda x: 1 - abs(x) if abs(x) < 1 else 0),
    "bicubic": (
        2,
        lambda x: (
            (1.5 * abs(x) - 2.5) * x * x + 1
            if abs(x) < 1
            else ((-0.5 * abs(x) + 2.5) * abs(x) - 4) * abs(x) + 2
            if abs(x) < 2
            else 0
        ),
    ),
    "lanczos": (3, lambda x: float(np.sinc(x) * np.sinc(x / 3)) if -3 <= x < 3 else 0),
}


def resample(pixels: Array, start: float, stop: float, count: int, name: str) -> Array:
    """Resample the first axis from [start, stop) to ``count``: the definition, in integers."""
    reach, weigh = FILTERS[name]
    first, last = np.float32(start), np.float32(stop)
    scale = float(last - first) / count
    widening = max(scale, 1.0)
    rows = []
    for row in range(count):
        centre = float(first) + (row + 0.5) * scale
        begin = max(int(centre - reach * widening + 0.5), 0)
        end = min(int(centre + reach * widening + 0.5), len(pixels))
        weights = np.array([weigh((index - centre + 0.5) / widening) for index in range(begin, end)])
        fixed = np.trunc(weights / weights.sum() * 2**22 + np.where(weights < 0, -0.5, 0.5)).astype(np.int64)
        total = 2**21 + np.tensordot(fixed, pixels[begin:end].astype(np.int64), axes=1)
        rows.append(np.clip(total >> 22, 0, 255))
    return np.stack(rows)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("width", "height"), [(150, 110), (83, 301), (20, 31), (640, 333)])
def test_resampling_is_exactly_what_the_docstring_says(width: int, height: int, interpolation: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted = spec(72, 64, interpolation)
    left, top, right, bottom = crop_box(width, height, wanted)
    narrow = resample(pixels.swapaxes(0, 1), left, right, 64, interpolation).swapaxes(0, 1)
    expected = resample(narrow, top, bottom, 64, interpolation)
    np.testing.assert_array_equal(preprocess(pixels, wanted), expected)


def test_without_antialiasing_each_pixel_is_an_interpolation_of_its_neighbours() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (110, 150, 3), dtype=np.uint8)
    wanted = spec(40, 32, antialias=False)
    left, top, right, bottom = crop_box(150, 110, wanted)
    xs = left + (np.arange(32) + 0.5) * (right - left) / 32 - 0.5
    ys = top + (np.arange(32) + 0.5) * (bottom - top) / 32 - 0.5
    x, y = np.floor(xs).astype(int), np.floor(ys).astype(int)
    dx, dy = (xs - x)[None, :, None], (ys - y)[:, None, None]
    upper = pixels[y][:, x] * (1 - dx) + pixels[y][:, x + 1] * dx
    lower = pixels[y + 1][:, x] * (1 - dx) + pixels[y + 1][:, x + 1] * dx
    difference = upper * (1 - dy) + lower * dy - preprocess(pixels, wanted)
    assert difference.min() > -1e-3
    assert difference.max() < 1 + 1e-3


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("width", "height"), [(1, 5000), (5000, 1), (1, 1), (2, 3)])
def test_very_thin_images_fill_the_crop(width: int, height: int, interpolation: str) -> None:
    pixels = preprocess(np.full((height, width, 3), 77, np.uint8), spec(interpolation=interpolation))
    assert (pixels == 77).all()
    assert pixels.shape == (224, 224, 3)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    ("width", "height"), [(1, 5000), (3, 997), (40, 1501), (300, 411), (411, 300), (97, 97)]
)
def test_cutting_the_rows_before_resampling_changes_no_pixel(
    width: int, height: int, interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for short_side, crop in ((64, 64), (100, 64), (256, 224)):
        wanted = spec(short_side, crop, interpolation)
        whole = preprocess(pixels, wanted)
        with monkeypatch.context() as patched:
            patched.setattr(imaging, "_NARROW_BYTES", 0)
            np.testing.assert_array_equal(preprocess(pixels, wanted), whole)


def test_the_middle_of_a_thin_image_is_seen() -> None:
    pixels = np.zeros((5001, 1, 3), np.uint8)
    pixels[2500] = 200
    assert (preprocess(pixels, spec(interpolation="nearest")) == 200).all()


def test_lanczos_without_antialiasing_is_refused() -> None:
    with pytest.raises(UsageError, match="'lanczos' needs resize"):
        preprocess(PIXELS, spec(interpolation="lanczos", antialias=False))


def test_fit_refuses_what_is_not_rgb() -> None:
    with pytest.raises(UsageError, match="mode 'L'"):
        fit(Image.new("L", (9, 9)), spec())


def test_the_result_is_ready_for_a_batch() -> None:
    pixels = preprocess(PIXELS, spec())
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_code(name: str, tmp_path: Path) -> None:
    bad: BadImage = BAD[name]
    path = tmp_path / name
    path.write_bytes(bad.data)
    assert code_of(path, bad.words) == bad.code
    assert code_of(path, str(path)) == bad.code
    assert code_of(bad.data, bad.words) == bad.code


@pytest.mark.parametrize("file_format", sorted(set(ENCODERS) - {"AVIF"}))
def test_a_file_cut_anywhere_in_its_first_nine_tenths_is_refused(file_format: str) -> None:
    data = encode(photo(120, 90), file_format)
    for tenths in range(1, 10):
        assert code_of(data[: len(data) * tenths // 10]) in ("truncated", "not_an_image")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    assert code_of(tmp_path / "nowhere.jpg", "nowhere.jpg does not exist") == "not_found"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    assert code_of(tmp_path, "is a folder") == "unreadable"


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert code_of(tmp_path / "pipe.jpg", "not a regular file") == "unreadable"


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0byte.jpg"])
def test_a_name_the_system_refuses_is_unreadable(name: str, tmp_path: Path) -> None:
    assert code_of(tmp_path / name, "cannot be read") == "unreadable"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encode(PIXELS))
    path.chmod(0)
    assert code_of(path, "Permission denied") == "unreadable"


def test_a_file_too_big_for_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(imaging.MAX_BYTES + 1)
    assert code_of(path, "2,147,483,649 bytes") == "too_large"


def test_the_limit_on_pixels_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imaging, "MAX_PIXELS", 60 * 40)
    sources: list[ImageSource] = [encode(PIXELS, file_format) for file_format in ENCODERS]
    sources += [PIXELS, Image.fromarray(PIXELS)]
    for source in sources:
        assert decode(source).size == (60, 40)
    monkeypatch.setattr(imaging, "MAX_PIXELS", 60 * 40 - 1)
    for source in sources:
        assert code_of(source, "60 x 40 = 2,400 pixels, the limit is 2,399") == "too_large"


@pytest.mark.parametrize("file_format", ENCODERS)
def test_the_limit_of_pillow_neither_warns_nor_leaks(
    file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(PIXELS, file_format)
    for limit in (60 * 40 - 1, 60 * 40 // 2 - 1):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        allowed = {"TIFF": limit, "WebP": 2 * limit}.get(file_format, imaging.MAX_PIXELS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if allowed < 60 * 40:
                assert code_of(data) == "too_large"
            else:
                assert decode(data).size == (60, 40)
        assert not caught


def test_a_png_of_400_megapixels_is_refused_without_its_memory() -> None:
    tracked = subprocess.run(
        [sys.executable, "-c", MEMORY_PROBE], input=huge_png(20000, 20000), capture_output=True, check=True
    )
    assert int(tracked.stdout) < 100


MEMORY_PROBE = """
import sys
from ghostclas.bench.fresh import peak_memory
from ghostclas.imaging import ImageError, decode
peak = lambda: peak_memory() // 2**20
before = peak()
try:
    decode(sys.stdin.buffer.read())
except ImageError as error:
    assert error.code == "too_large"
    print(peak() - before)
"""


def test_too_little_memory_is_a_result() -> None:
    code = """
import resource, sys
import numpy as np
from ghostclas.imaging import ImageError, decode, preprocess
from ghostclas.spec import PreprocessSpec
from tests.hostile_images import png
data = png(7000, 5000, colour=2)
preprocess(png(70, 50), PreprocessSpec())
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20), used + (60 << 20)))
for work in (lambda: preprocess(data, PreprocessSpec()), lambda: decode(data)):
    try:
        work()
    except ImageError as error:
        print(error.code, error)
"""
    outcome = run_python(code)
    line = "too_large the image does not fit into memory; make it smaller first"
    assert outcome.stdout.splitlines() == [line, line], outcome.stderr


def corruptible() -> list[bytes]:
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"exif": exif(6)},
        "PNG": {"exif": exif(6)},
        "WebP": {"exif": exif(6)},
        "TIFF": {"exif": exif(6)},
        "AVIF": {"exif": exif(6)},
    }
    files = [encode(PIXELS, file_format, **options.get(file_format, {})) for file_format in ENCODERS]
    frames = [photo(20, 14, seed=seed) for seed in range(3)]
    return files + [animation(file_format, *frames) for file_format in ("GIF", "PNG", "WebP")]


CORRUPTIBLE = corruptible()
OUTCOMES = {"RGB", "empty", "not_an_image", "truncated", "too_large", "unsupported"}


def outcome(data: bytes) -> str:
    try:
        return decode(data, short_side=8).mode
    except ImageError as error:
        return error.code


@given(data=st.data(), which=st.integers(0, len(CORRUPTIBLE) - 1))
@settings(derandomize=True, deadline=None, max_examples=600)
def test_damaged_files_give_an_image_or_an_image_error(data: st.DataObject, which: int) -> None:
    damaged = bytearray(CORRUPTIBLE[which])
    start = st.integers(0, min(250, len(damaged) - 1))
    anywhere = st.integers(0, len(damaged) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(start | anywhere)] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(anywhere) :]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(bytes(damaged)) in OUTCOMES
    assert [str(warning.message) for warning in caught] == []


@given(st.binary(max_size=400), st.sampled_from([data[:12] for data in CORRUPTIBLE]))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_noise_behind_a_signature_gives_an_image_or_an_image_error(noise: bytes, signature: bytes) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(signature + noise) in OUTCOMES
    assert [str(warning.message) for warning in caught] == []


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    data = encode(PIXELS)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    sources: list[Any] = [
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        PIXELS,
        Image.fromarray(PIXELS),
    ]
    for source in sources:
        np.testing.assert_array_equal(pixels_of(source), PIXELS)


def test_arrays_may_be_grey_rgba_or_views() -> None:
    np.testing.assert_array_equal(pixels_of(PIXELS[..., 0]), np.dstack([PIXELS[..., 0]] * 3))
    np.testing.assert_array_equal(pixels_of(PIXELS[::-1, ::2]), PIXELS[::-1, ::2])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5, 3), np.float32), "float32 [4 x 5 x 3]"),
        (np.zeros((4, 5, 3), np.int64), "int64 [4 x 5 x 3]"),
        (np.zeros((3, 4, 5), np.uint8), "uint8 [3 x 4 x 5]"),
        (np.zeros((1, 4, 5, 3), np.uint8), "uint8 [1 x 4 x 5 x 3]"),
        (np.zeros(5, np.uint8), "uint8 [5]"),
        (np.zeros((4, 5, 2), np.uint8), "give uint8 [H, W]"),
    ],
)
def test_other_arrays_are_refused(array: Array, words: str) -> None:
    assert code_of(array, words) == "unsupported"


@pytest.mark.parametrize("source", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 0), np.uint8)])
def test_an_array_without_pixels_is_empty(source: Array) -> None:
    assert code_of(source, "no pixels") == "empty"


def test_a_pillow_image_without_pixels_is_empty() -> None:
    assert code_of(Image.new("RGB", (0, 5)), "no pixels: 0 x 5") == "empty"


def test_a_damaged_pillow_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(BAD["half.png"].data)
    with Image.open(path) as image:
        assert code_of(image, "PNG") == "truncated"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16", "CMYK"])
def test_pillow_sources_are_left_alone(mode: str) -> None:
    source = Image.new(mode, (7, 5))
    before = source.tobytes()
    result = decode(source)
    preprocess(source, spec())
    result.paste((1, 2, 3), (0, 0, 7, 5))
    assert (source.mode, source.size, source.tobytes()) == (mode, (7, 5), before)


def test_array_sources_are_left_alone() -> None:
    source = PIXELS.copy()
    decode(source).paste((1, 2, 3), (0, 0, 60, 40))
    preprocess(source, spec(32, 32))[:] = 0
    np.testing.assert_array_equal(source, PIXELS)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"]])
def test_what_is_no_source_is_a_mistake_of_the_caller(source: Any) -> None:
    with pytest.raises(UsageError, match=f"not {type(source).__name__}"):
        decode(source)


def test_many_threads_decode_at_once() -> None:
    files = [encode(photo(90, 70, seed=seed), file_format) for seed, file_format in enumerate(ENCODERS)]
    alone = [preprocess(data, spec(64, 64)) for data in files]
    wrong: list[int] = []

    def work(offset: int) -> None:
        for step in range(24):
            index = (step + offset) % len(files)
            if not np.array_equal(preprocess(files[index], spec(64, 64)), alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_importing_changes_nothing_and_loads_no_decoder() -> None:
    program = """
import sys, warnings
import numpy, pydantic
from PIL import Image, ImageFile
def state():
    limits = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    return limits, dict(Image.OPEN), list(warnings.filters)
before = state()
import ghostclas.imaging
assert state() == before
heavy = {"torch", "onnxruntime"}
print([name for name in sys.modules if name.endswith("ImagePlugin") or name.split(".")[0] in heavy])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_softmax_sums_to_one_and_survives_large_logits() -> None:
    logits = np.array([[1e30, -1e30, 1e30], [0, 1, 2]], np.float64)
    scores = softmax(logits)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[0], [0.5, 0, 0.5])
    np.testing.assert_allclose(scores[1], np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), rtol=1e-6)


@given(st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=30), st.floats(0.05, 20))
@settings(derandomize=True, deadline=None)
def test_softmax_is_a_distribution_in_the_order_of_the_logits(
    logits: list[float], temperature: float
) -> None:
    scores = softmax([logits], temperature)[0]
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    assert scores[int(np.argmax(logits))] == scores.max()
    expected = np.exp((np.array(logits) - max(logits)) / temperature)
    np.testing.assert_allclose(scores, expected / expected.sum(), atol=1e-5)


def test_temperature_flattens_and_sharpens() -> None:
    logits = [[0.0, 1.0, 2.0]]
    cold, plain, hot = (softmax(logits, temperature)[0, 2] for temperature in (0.1, 1.0, 10.0))
    assert cold > plain > hot > 1 / 3


def test_a_vanishing_temperature_leaves_the_winner() -> None:
    np.testing.assert_array_equal(softmax([[1.0, 2.0, -3.0e38]], 1e-30), [[0, 1, 0]])


def test_minus_infinity_is_no_probability() -> None:
    np.testing.assert_array_equal(softmax([[-np.inf, 0.0]]), [[0, 1]])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_softmax_refuses_other_temperatures(temperature: float) -> None:
    with pytest.raises(UsageError, match="temperature must be a positive number"):
        softmax([[0.0]], temperature)


@pytest.mark.parametrize("row", [[0, np.nan], [0, np.inf], [-np.inf, -np.inf], [0, 1e300]])
def test_broken_logits_are_named_not_ranked(row: list[float]) -> None:
    with pytest.raises(GhostclasError, match="logits of image 1 in a batch of 2 are not finite"):
        softmax(np.array([[0, 1], row]))


def test_top_k_breaks_ties_by_the_lower_index() -> None:
    scores = np.array([[1, 3, 3, 0, 3], [2, 2, 2, 2, 2]], np.float32)
    assert top_k(scores, 4).tolist() == [[1, 2, 4, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64, np.bool_])
def test_top_k_ranks_every_number_type(dtype: Any) -> None:
    assert top_k(np.array([[0, 1, 0, 1]], dtype), 3).tolist() == [[1, 3, 0]]


def test_top_k_beyond_the_classes_gives_all() -> None:
    indices = top_k([[0.1, 0.7, 0.2]], 5)
    assert indices.tolist() == [[1, 2, 0]]
    assert indices.dtype == np.int64


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(1, 45))
@settings(derandomize=True, deadline=None)
def test_top_k_is_a_stable_sort(scores: list[int], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda index: -scores[index])[:k]
    assert top_k([scores], k).tolist() == [expected]


def test_top_k_refuses_nothing_and_nan() -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        top_k([[1.0]], 0)
    with pytest.raises(GhostclasError, match="scores of image 1 in a batch of 2"):
        top_k([[1.0, 2.0], [np.nan, 2.0]], 1)


GEOMETRIES = [
    ((500, 375), (341, 256)),  # a photo, smaller
    ((100, 80), (341, 273)),  # larger
    ((512, 512), (256, 256)),  # exactly half, which OpenCV averages
    ((512, 300), (256, 150)),
    ((300, 300), (300, 300)),  # as it is
    ((1, 7), (256, 1792)),  # one column
    ((333, 9), (160, 80)),  # stretched
    ((640, 480), (64, 300)),
]


@pytest.mark.parametrize(("source", "target"), GEOMETRIES, ids=str)
def test_opencvs_resize_is_met_bit_by_bit(source: tuple[int, int], target: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = photo(*source, seed=sum(source))
    wanted = cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(opencv_resize(Image.fromarray(pixels), target), wanted)
    part = (target[0] // 3, target[1] // 4, target[0] - 1, target[1] - target[1] // 5)
    left, top, right, bottom = part
    cut = opencv_resize(Image.fromarray(pixels), target, part)
    np.testing.assert_array_equal(cut, wanted[top:bottom, left:right])


@pytest.mark.parametrize("size", [None, (96, 64)], ids=["short side", "stretched"])
@pytest.mark.parametrize("library", ["opencv", "pillow"])
def test_a_photo_is_scaled_to_a_whole_size_before_it_is_cut(library: Any, size: Any) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = photo(131, 97, seed=4)
    whole = size or whole_size(131, 97, 72)
    assert size or whole == (97, 72)
    if library == "opencv":
        scaled = cv2.resize(pixels, whole, interpolation=cv2.INTER_LINEAR)
    else:
        scaled = np.asarray(Image.fromarray(pixels).resize(whole, Image.Resampling.BILINEAR))
    left, top = (whole[0] - 64) // 2, (whole[1] - 64) // 2
    resize = ResizeSpec(short_side=min(whole), antialias=library == "pillow", library=library, size=size)
    got = preprocess(encode(pixels), PreprocessSpec(resize=resize, crop=64))
    np.testing.assert_array_equal(got, scaled[top : top + 64, left : left + 64])


def test_a_jpeg_is_decoded_in_full_where_a_library_scales_it() -> None:
    cv2 = pytest.importorskip("cv2")
    data = encode(photo(1301, 901, seed=13), "JPEG", quality=60)
    resize = ResizeSpec(short_side=40, antialias=False, library="opencv")
    got = preprocess(data, PreprocessSpec(resize=resize, crop=32))
    whole = np.asarray(decode(data))
    scaled = cv2.resize(whole, whole_size(1301, 901, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(got, scaled[4:36, 13:45])


def test_scaling_a_long_photo_takes_no_memory_for_what_is_cut_off() -> None:
    code = """
import numpy as np
from ghostclas.errors import ImageError
from ghostclas.imaging import preprocess
from ghostclas.spec import PreprocessSpec, ResizeSpec

thin = np.zeros((30000, 2, 3), np.uint8)
for library in ("opencv", "pillow"):
    resize = ResizeSpec(library=library, antialias=library == "pillow")
    try:
        print(preprocess(thin, PreprocessSpec(resize=resize)).shape)
    except ImageError as error:
        print(error.code)
"""
    done = run_python(code)
    assert done.stdout.splitlines() == ["(224, 224, 3)", "too_large"]
    assert done.peak_bytes < 300e6
