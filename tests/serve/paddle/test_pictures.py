"""Pictures of Paddle Serving's clients: base64, and planes of floats that become pixels again."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.paddle.pictures import check_size, file_of, pixels_of
from tests.serve.served import builtin_model

SIDE = builtin_model().side


@given(st.binary(max_size=300), st.integers(1, 80))
def test_base64_with_any_line_breaks(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    lines = "\r\n".join(text[at : at + width] for at in range(0, len(text), width))
    assert file_of(lines, "it") == data


@pytest.mark.parametrize("text", ["!", "QQ", "QQ=", "Q Q=", "ÄÄ==", "QQ==QQ==", "\ud800"])
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ServeError, match="data is no base64") as caught:
        file_of(text, "data")
    assert caught.value.kind is Kind.INVALID


def test_every_level_of_every_channel_comes_back() -> None:
    pixels = (np.arange(3 * SIDE * SIDE).reshape(1, SIDE, SIDE, 3) // 3 % 256).astype(np.uint8)
    assert len(np.unique(pixels)) == 256
    spec = builtin_model().preprocess
    planes = (pixels.astype(np.float32) / 255 - np.array(spec.mean)) / np.array(spec.std)
    back = pixels_of(planes.transpose(0, 3, 1, 2).astype(np.float32), builtin_model())
    np.testing.assert_array_equal(back, pixels)
    assert back.flags.c_contiguous


@pytest.mark.parametrize("shape", [(3, SIDE, SIDE), (1, SIDE, SIDE, 3), (1, 1, SIDE, SIDE), ()])
def test_planes_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ServeError, match="planes are float32"):
        pixels_of(np.zeros(shape, np.float32), builtin_model())


def test_no_planes_are_no_pixels() -> None:
    assert pixels_of(np.zeros((0, 3, SIDE, SIDE), np.float32), builtin_model()).shape == (0, SIDE, SIDE, 3)


def test_sizes_are_known_before_anything_is_made() -> None:
    assert check_size([2, 3], 4, 24) == 6
    assert check_size([], 4, 4) == 1
    assert check_size([2**31 - 1] * 8 + [0], 4, 1) == 0
    with pytest.raises(ServeError) as large:
        check_size([2**31 - 1] * 8, 4, 24)
    assert large.value.kind is Kind.TOO_LARGE
    with pytest.raises(ServeError) as negative:
        check_size([-1, -1], 4, 24)
    assert negative.value.kind is Kind.INVALID
