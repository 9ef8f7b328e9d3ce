"""The C++ pixels and scores against Python's: equal bit for bit, and the same refusals in the same words."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostclas.errors import ImageError
from ghostclas.imaging import fit, preprocess, softmax, top_k
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.cpp import cases
from tests.cpp.building import built, run
from tests.cpp.pixels import INTERPOLATIONS, Pixels, open_pixels
from tests.cpp.random_images import RANDOM
from tests.hostile_images import READ, REFUSED, png
from tests.images import bad_images, encode, photo
from tests.real_data import CLOTHING, needs_clothing

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = PreprocessSpec(resize=ResizeSpec(short_side=64), crop=64)
LARGE = (
    "png: 1 x 4,000,000",
    "png: pixels in 800,000 chunks",
    "ppm: 8 MB of comments",
    "ppm: text with comments",
    "gif: a comment of small blocks",
    "webp: 200,000 frames",
)
"""Of the files at the limits, those that Python reads in a second."""

INCOMPLETE_LEVELS = 16
"""How far a damaged progressive JPEG may lie off: each libjpeg-turbo smooths missing scans in its own way."""


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return open_pixels()


def difference(pixels: Pixels, data: bytes, spec: PreprocessSpec, levels_off: int = 0) -> str | None:
    """Say in what C++ differs from Python, or ``None``; pixels of progressive JPEG may be ``levels_off``."""
    expected, found = _answer(preprocess, data, spec), _answer(pixels.preprocess, data, spec)
    if isinstance(expected, str) or isinstance(found, str):
        same = isinstance(expected, str) and isinstance(found, str) and expected == found
        if same or _is_excepted(expected, found):
            return None
        return f"Python: {_short(expected)}; C++: {_short(found)}"
    levels = int(np.abs(expected.astype(int) - found).max())
    if _is_progressive(data) and levels <= levels_off:
        return None
    return f"pixels differ by {levels} levels" if levels else None


def _answer(function: Any, data: bytes, spec: PreprocessSpec) -> Any:
    try:
        return function(data, spec)
    except ImageError as error:
        return f"{error.code}: {error}"


def _short(answer: Any) -> str:
    return answer if isinstance(answer, str) else "pixels"


def _is_excepted(expected: Any, found: Any) -> bool:
    # Python converts LAB by LittleCMS, and trips over TIFF tags that hold text instead of numbers.
    return (isinstance(found, str) and "LAB colours, which the C++ engine does not convert" in found) or (
        isinstance(expected, str) and "not supported between instances" in expected
    )


def _is_progressive(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8") and b"\xff\xc2" in data


def _is_of_another_libjpeg(data: bytes) -> bool:
    """Return whether it is arithmetic-coded or lossless, which not every libjpeg-turbo reads."""
    return data.startswith(b"\xff\xd8") and any(
        bytes([0xFF, frame]) in data for frame in (0xC3, *range(0xC9, 0xD0))
    )


def check(
    pixels: Pixels, files: Iterable[tuple[str, bytes]], spec: PreprocessSpec = SMALL, levels_off: int = 0
) -> int:
    """Compare all files, list those that differ, and return how many were compared."""
    found = [
        (name, difference(pixels, data, spec, levels_off))
        for name, data in files
        if not _is_of_another_libjpeg(data)
    ]
    assert [f"{name}: {what}" for name, what in found if what] == []
    return len(found)


def test_the_golden_vectors(pixels: Pixels) -> None:
    document = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
    for row in document["preprocess"]:
        data = (GOLDEN / "images" / row["image"]).read_bytes()
        found = pixels.preprocess(data, PreprocessSpec.model_validate(row["spec"]))
        with Image.open(GOLDEN / "expected" / row["expected"]) as expected:
            off = np.abs(np.asarray(expected).astype(int) - found).max()
        assert off <= row["tolerance"], row["expected"]
    for row in document["scores"]:
        scores, top = pixels.scores(np.array([row["logits"]], np.float32), row["temperature"], row["k"])
        np.testing.assert_allclose(scores[0], row["softmax"], atol=1e-6)
        assert top[0].tolist() == row["top"]


@needs_clothing
def test_photos_have_equal_pixels(pixels: Pixels) -> None:
    photos = sorted(file for file in (CLOTHING / "val").rglob("*") if file.is_file())
    assert len(photos) == 341
    files = ((file.name, file.read_bytes()) for file in photos)
    check(pixels, files, PreprocessSpec())


def test_files_of_every_mode_have_equal_pixels(pixels: Pixels) -> None:
    assert check(pixels, cases.whole()) > 800


def test_complete_progressive_jpeg_is_bit_equal(pixels: Pixels) -> None:
    files = [
        (f"{mode} {size} {options}", encode(Image.fromarray(photo(*size)).convert(mode), "JPEG", **options))
        for mode in ("RGB", "L", "CMYK")
        for size in ((1, 1), (61, 90), (333, 500))
        for options in (
            {"progressive": True},
            {"progressive": True, "subsampling": 0, "quality": 95},
            {"progressive": True, "subsampling": 1, "quality": 20},
            {"progressive": True, "restart_marker_blocks": 5},
        )
    ]
    assert all(_is_progressive(data) for _, data in files)
    for spec in (SMALL, PreprocessSpec()):
        assert [name for name, data in files if difference(pixels, data, spec)] == []


@pytest.mark.parametrize("kind", [kind for kind in cases.MUTATED if kind != "AVIF"])
def test_damaged_files_get_the_same_answer(pixels: Pixels, kind: str) -> None:
    check(pixels, cases.damaged(kind, 250), levels_off=INCOMPLETE_LEVELS)


def test_damaged_avif_is_answered(pixels: Pixels) -> None:
    """Each libavif repairs and refuses something else, and Pillow brings its own."""
    codes = {
        answer.partition(":")[0]
        for _, data in cases.damaged("AVIF", 100)
        if isinstance(answer := _answer(pixels.preprocess, data, SMALL), str)
    }
    assert codes <= {"truncated", "unsupported", "too_large", "not_an_image", "empty"}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_files_have_equal_pixels(pixels: Pixels, kind: str) -> None:
    rng = Random(kind)
    check(pixels, ((f"random {kind} {number}", RANDOM[kind](rng)) for number in range(600)))


@pytest.mark.parametrize("kind", RANDOM)
def test_random_files_that_are_damaged_get_the_same_answer(pixels: Pixels, kind: str) -> None:
    rng = Random(f"damaged {kind}")
    files = (cases.MUTATED[kind].mutate(RANDOM[kind](rng), rng) for _ in range(600))
    check(
        pixels,
        ((f"damaged {kind} {number}", data) for number, data in enumerate(files)),
        levels_off=INCOMPLETE_LEVELS,
    )


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "jpeg"])
def test_lab_colours_get_a_sentence_and_no_pixels(pixels: Pixels, compression: str | None) -> None:
    lab = Image.frombytes("LAB", (80, 70), photo(80, 70, 0).tobytes())
    data = encode(lab, "TIFF", compression=compression)
    assert preprocess(data, SMALL).any()  # Python converts them
    with pytest.raises(
        ImageError, match=r"in LAB colours, which .* does not convert; save it as PNG$"
    ) as caught:
        pixels.preprocess(data, SMALL)
    assert caught.value.code == "unsupported"


def test_bad_files_get_the_same_words(pixels: Pixels) -> None:
    check(pixels, ((name, bad.data) for name, bad in bad_images().items()))


def test_hostile_files_are_refused_in_the_same_words(pixels: Pixels) -> None:
    check(pixels, ((name, make()) for name, make in REFUSED.items() if not name.startswith("avif")))


@pytest.mark.slow
def test_large_files_have_equal_pixels(pixels: Pixels) -> None:
    check(pixels, ((name, READ[name]()) for name in LARGE))


def test_random_resizes_are_equal(pixels: Pixels) -> None:
    rng = Random("resizes")
    for case in range(700):
        width, height = (rng.choice((1, 2, 33, rng.randint(1, 700))) for _ in range(2))
        crop = 32 * rng.randint(1, 4)
        resize = ResizeSpec(
            short_side=rng.randint(crop, 300),
            interpolation=INTERPOLATIONS[case % 4],  # type: ignore[arg-type]
            antialias=case % 4 == 3 or rng.random() < 0.6,
        )
        spec = PreprocessSpec(resize=resize, crop=crop)
        noise = np.random.default_rng(case).integers(0, 256, (height, width, 3), np.uint8)
        found = pixels.fit(noise, spec)
        assert np.array_equal(found, fit(Image.fromarray(noise), spec)), (width, height, spec)


def test_random_resizes_of_libraries_are_equal(pixels: Pixels) -> None:
    rng = Random("libraries")
    for case in range(200):
        width, height = (rng.choice((1, 2, 33, 64, 128, rng.randint(1, 500))) for _ in range(2))
        crop = 32 * rng.randint(1, 2)
        size = (rng.randint(crop, 150), rng.randint(crop, 150)) if rng.random() < 0.5 else None
        opencv = case % 2 == 0
        resize = ResizeSpec(
            short_side=min(size) if size else rng.choice((crop, rng.randint(crop, 150))),
            interpolation="bilinear" if opencv else INTERPOLATIONS[1 + case % 3],  # type: ignore[arg-type]
            antialias=not opencv,
            library="opencv" if opencv else "pillow",
            size=size,
        )
        spec = PreprocessSpec(resize=resize, crop=crop)
        noise = np.random.default_rng(case).integers(0, 256, (height, width, 3), np.uint8)
        assert np.array_equal(pixels.fit(noise, spec), fit(Image.fromarray(noise), spec)), (noise.shape, spec)


@pytest.mark.parametrize("library", ["opencv", "pillow"])
def test_a_line_that_becomes_longer_than_an_image_may_be(pixels: Pixels, library: Any) -> None:
    resize = ResizeSpec(short_side=8192, library=library, antialias=library == "pillow")
    check(pixels, [("1 x 400,000", png(1, 400_000))], PreprocessSpec(resize=resize, crop=32))


def test_a_tall_image_is_cut_before_it_is_resized(pixels: Pixels) -> None:
    """Python leaves out rows of images whose first pass would be large, which moves the rounding."""
    for interpolation in ("bilinear", "bicubic", "lanczos"):
        resize = ResizeSpec(short_side=300, interpolation=interpolation)
        spec = PreprocessSpec(resize=resize, crop=256)
        noise = np.random.default_rng(1).integers(0, 256, (40_001, 37, 3), np.uint8)
        assert np.array_equal(pixels.fit(noise, spec), fit(Image.fromarray(noise), spec))


def test_every_setting_of_files(pixels: Pixels) -> None:
    files = [
        ("jpeg", encode(photo(801, 607), "JPEG")),
        ("rgba", encode(np.dstack([photo(90, 70), photo(90, 70, 1)[..., :1]]))),
    ]
    for interpolation in INTERPOLATIONS:
        for antialias in (True, False) if interpolation != "lanczos" else (True,):
            resize = ResizeSpec(short_side=72, interpolation=interpolation, antialias=antialias)  # type: ignore[arg-type]
            check(pixels, files, PreprocessSpec(resize=resize, crop=64, exif=False))


def test_scores_rank_alike(pixels: Pixels) -> None:
    rng = np.random.default_rng(4)
    for classes in (1, 2, 7, 200, 1000):
        logits = rng.normal(0, 4, (3, classes)).astype(np.float32)
        logits[1] = np.round(logits[1])
        for temperature in (0.3, 1.0, 7.0):
            scores, top = pixels.scores(logits, temperature, 5)
            np.testing.assert_allclose(scores, softmax(logits, temperature), atol=1e-6)
            assert np.array_equal(top, top_k(scores, 5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_logits_are_refused_in_the_same_words(pixels: Pixels, value: float) -> None:
    logits = np.zeros((3, 4), np.float32)
    logits[1] = value
    with pytest.raises(Exception, match="of image 1 in a batch of 3 are not finite") as expected:
        softmax(logits)
    with pytest.raises(ImageError) as found:
        pixels.scores(logits, 1.0, 1)
    assert str(found.value) == str(expected.value)


def test_settings_without_meaning_are_refused_in_the_same_words(pixels: Pixels) -> None:
    resize = ResizeSpec(short_side=64, interpolation="lanczos", antialias=False)
    spec = PreprocessSpec(resize=resize, crop=64)
    data = encode(photo(80, 80))
    with pytest.raises(Exception, match="lanczos") as expected:
        preprocess(data, spec)
    with pytest.raises(Exception, match="lanczos") as found:
        pixels.preprocess(data, spec)
    assert str(found.value) == str(expected.value)
    logits = np.zeros((1, 2), np.float32)
    for temperature in (0.0, -1.5, np.nan):
        with pytest.raises(Exception, match="temperature") as expected:
            softmax(logits, temperature)
        with pytest.raises(Exception, match="temperature") as found:
            pixels.scores(logits, temperature, 1)
        assert str(found.value) == str(expected.value)


def test_the_tests_without_python() -> None:
    folder = built("ghostclas_pixels_test")
    program = next(
        file for file in folder.rglob("ghostclas_pixels_test*") if os.access(file, os.X_OK) and file.is_file()
    )
    ran = run(str(program))
    assert ran.returncode == 0, ran.stdout + ran.stderr
