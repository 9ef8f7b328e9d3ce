"""PBM, PGM and PPM files made binary, against Pillow's own reading of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import PpmImagePlugin

from ghostclas.image_formats.netpbm import to_binary


def as_pillow_reads(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    with PpmImagePlugin.PpmImageFile(io.BytesIO(data)) as image:
        return image.mode, image.size, image.tobytes()


def file_of(kind: int, maximum: int, gap: bytes, seed: int = 0) -> bytes:
    rng, (width, height) = np.random.default_rng(seed), (7, 5)
    head = b"P%d%b%d%b%d" % (kind, gap, width, gap, height)
    head += b"\n" if kind in (1, 4) else b"%b%d\n" % (gap, maximum)
    count = width * height * (3 if kind in (3, 6) else 1)
    # A sample above the maximum is a mistake in text; in a binary file, it is the maximum.
    samples = rng.integers(0, 1 + (maximum if kind < 4 else min(2 * maximum, 65535)), count)
    if kind == 1:
        return head + gap.join(b"01"[v % 2 : v % 2 + 1] for v in samples.tolist())
    if kind in (2, 3):
        return head + gap.join(b"%d" % v for v in samples.tolist()) + b"\n"
    if kind == 4:
        return head + rng.bytes(height)
    return head + samples.astype(np.uint8 if maximum < 256 else ">u2").tobytes()


@pytest.mark.parametrize("gap", [b" ", b"\n", b"\r\n", b" # a comment\n", b"\t#\r# two \r\n"])
@pytest.mark.parametrize("maximum", [1, 15, 100, 254, 255, 256, 4095, 65534, 65535])
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6])
def test_the_pixels_are_those_of_pillow(kind: int, maximum: int, gap: bytes) -> None:
    data = file_of(kind, maximum, gap)
    converted = to_binary(data)
    assert converted[:2] in (b"P4", b"P5", b"P6")
    assert as_pillow_reads(converted) == as_pillow_reads(data)


def test_the_usual_file_is_not_copied() -> None:
    for data in (file_of(5, 255, b" "), file_of(6, 255, b"\n"), file_of(4, 1, b"\n")):
        assert to_binary(data) is data


def test_a_long_header_becomes_short() -> None:
    floats = b"Pf\n" + b"# scale\n" * 1000 + b"2 1 -1.0\n" + np.array([0.5, 1.5], "<f4").tobytes()
    for data in (b"P5 #" + b"x" * 9000 + b"\n2 1 255 ab", floats):
        assert len(to_binary(data)) < 40
        assert as_pillow_reads(to_binary(data)) == as_pillow_reads(data)


@pytest.mark.parametrize(
    "data", [b"P5", b"P5 1", b"P5 1 1", b"P5 1 1 255", b"P5 1 1 0 a", b"P5 1 1 70000 a", b"P6 x 1 255 abc"]
)
def test_pillow_refuses_what_has_no_header(data: bytes) -> None:
    with pytest.raises((ValueError, SyntaxError, OSError)):
        as_pillow_reads(to_binary(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"P2 2 1 255\n1 256", "a sample is 256, the maximum is 255"),
        (b"P2 2 1 255\n1 -2", "no number"),
        (b"P2 2 1 255\n1 11111111111", "no number"),
        (b"P1 2 1\n1 2", "neither 0 nor 1"),
    ],
)
def test_text_that_holds_no_samples_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        to_binary(data)


@pytest.mark.parametrize("data", [b"P2 2 1 255\n1", b"P5 2 1 15\n1", b"P1 3 1\n1 0"])
def test_missing_samples_are_missed_by_pillow(data: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        as_pillow_reads(to_binary(data))
