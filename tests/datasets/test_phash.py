"""Perceptual hashes: stable under rescaling and compression, and searched completely."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from ghostclas.datasets.audit import NEAR_CORRELATION, NEAR_FREQUENCIES, NEAR_GRADIENTS
from ghostclas.datasets.phash import close_pairs, colour_correlation, distance, perceptual_hashes, signature


def scene(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def compressed(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=40)
    return Image.open(out).convert("RGB")


def differences(a: Image.Image, b: Image.Image) -> tuple[int, int, float]:
    one, other = perceptual_hashes(a), perceptual_hashes(b)
    return (
        (one.frequencies ^ other.frequencies).bit_count(),
        (one.gradients ^ other.gradients).bit_count(),
        colour_correlation(signature(a), signature(b)),
    )


def near(a: Image.Image, b: Image.Image) -> bool:
    frequencies, gradients, alike = differences(a, b)
    return frequencies <= NEAR_FREQUENCIES and gradients <= NEAR_GRADIENTS and alike >= NEAR_CORRELATION


@pytest.mark.parametrize(
    "change",
    [
        compressed,
        lambda image: image.resize((160, 120), Image.Resampling.LANCZOS),
        lambda image: image.resize((224, 224), Image.Resampling.BILINEAR),
        lambda image: ImageEnhance.Contrast(image).enhance(0.8),
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_the_same_picture_stays_near(change: Callable[[Image.Image], Image.Image], seed: int) -> None:
    image = scene(seed)
    assert near(image, change(image)), differences(image, change(image))


def test_different_pictures_are_far() -> None:
    scenes = [scene(seed) for seed in range(30)]
    assert not [(i, j) for i in range(30) for j in range(i) if near(scenes[i], scenes[j])]


def test_another_colour_is_another_picture_though_its_hashes_are_equal() -> None:
    red = Image.new("RGB", (200, 200), "white")
    red.paste((200, 60, 60), (50, 50, 150, 170))
    blue = Image.new("RGB", (200, 200), "white")
    blue.paste((60, 60, 200), (50, 50, 150, 170))
    frequencies, gradients, alike = differences(red, blue)
    assert frequencies <= NEAR_FREQUENCIES
    assert gradients <= NEAR_GRADIENTS
    assert alike < NEAR_CORRELATION


def test_a_blank_picture_has_no_detail() -> None:
    assert perceptual_hashes(Image.new("RGB", (80, 60), (90, 20, 200))).detail == 0
    assert perceptual_hashes(scene(0)).detail > 20


@pytest.mark.parametrize("within", [0, 1, 3, 6, 15])
def test_every_close_pair_is_found_once(within: int) -> None:
    draw = np.random.default_rng(within)
    bases = draw.integers(0, 2**63, 40, dtype=np.uint64).repeat(10)
    flips = np.uint64(1) << draw.integers(0, 64, (400, 4), dtype=np.uint64)
    hashes = np.unique(bases ^ np.bitwise_xor.reduce(flips, axis=1))
    apart = distance(hashes[:, None], hashes[None, :])
    np.testing.assert_array_equal(
        apart[:5, :5], [[(int(a) ^ int(b)).bit_count() for b in hashes[:5]] for a in hashes[:5]]
    )
    expected = {(i, j) for i, j in zip(*np.nonzero(apart <= within), strict=True) if i < j}
    found = [tuple(pair) for pairs in close_pairs(hashes, within) for pair in pairs.tolist()]
    assert sorted(found) == sorted(expected)
    assert bool(expected) == (within > 1)


def test_no_hashes_have_no_pairs() -> None:
    assert list(close_pairs(np.array([], dtype=np.uint64), 6)) == []
