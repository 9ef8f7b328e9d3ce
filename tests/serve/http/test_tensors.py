"""Tensors behind JSON and in JSON, with every length that can lie."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http import tensors
from tests.serve.http.uploads import element, text


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ServeError) as caught:
        call()
    assert caught.value.kind is Kind.INVALID
    return caught.value.message


def test_a_body_is_split_where_its_header_says() -> None:
    assert tensors.split_body(b"{}", None) == (b"{}", memoryview(b""))
    assert tensors.split_body(b"{}abc", "2") == (b"{}", memoryview(b"abc"))
    assert tensors.split_body(b"{}", "2") == (b"{}", memoryview(b""))


@pytest.mark.parametrize("length", ["", "0", "-1", "6", "2.0", "two", "9" * 30, " 2", "٢"])
def test_a_length_of_json_outside_the_body_is_refused(length: str) -> None:
    assert "counts the bytes" in refused(lambda: tensors.split_body(b"{}abc", length))


@pytest.mark.parametrize("size", [-1, True, 1.0, "1", None, [1]])
def test_a_binary_size_is_a_whole_number(size: object) -> None:
    assert "binary_data_size" in refused(lambda: tensors.binary_size("images", size))


def test_elements_are_read_whole() -> None:
    parts = [b"", b"a", bytes(300)]
    data = memoryview(b"".join(map(element, parts)))
    assert tensors.elements_of("encoded", 3, data) == parts
    assert tensors.elements_of("encoded", 0, memoryview(b"")) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 elements"),
        (element(b"a"), "1 elements"),
        (element(b"a") + b"\x01", "breaks off"),
        (element(b"a") + struct.pack("<I", 2) + b"b", "says that it has 2 bytes, 1 follow"),
        (element(b"a") + struct.pack("<I", 2**32 - 1) + b"b", "4294967295"),
        (struct.pack(">I", 1) + b"a" + element(b"b"), "16777216"),
        (element(b"a") * 3, "5 bytes follow its 2 elements"),
        (element(b"a") * 2 + b"\0", "1 bytes follow"),
    ],
)
def test_lying_elements_are_refused(data: bytes, words: str) -> None:
    assert words in refused(lambda: tensors.elements_of("encoded", 2, memoryview(data)))


def test_pixels_lie_over_the_bytes_of_the_request() -> None:
    data = bytes(range(12))
    found = tensors.pixels_of("images", [1, 2, 2, 3], memoryview(data))
    assert found.shape == (1, 2, 2, 3)
    assert found.tobytes() == data
    assert "12 bytes, got 11" in refused(
        lambda: tensors.pixels_of("images", [1, 2, 2, 3], memoryview(data)[1:])
    )


def test_pixels_in_json_are_flat_or_nested_as_the_shape_is() -> None:
    wanted = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    for data in (wanted.ravel().tolist(), wanted.tolist()):
        np.testing.assert_array_equal(tensors.pixels_of_json("images", [2, 2, 2, 3], data), wanted)
    halves = wanted.reshape(2, -1).tolist()
    assert "nested" in refused(lambda: tensors.pixels_of_json("images", [2, 2, 2, 3], halves))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("abc", "a list"),
        ({"0": 1}, "a list"),
        ([], "0 values"),
        ([1] * 5, "5 values"),
        ([1] * 7, "7 values"),
        ([[[[1, 2, 3], [4, 5, 6]]], [[[1, 2, 3], [4, 5, 6]]]], "2 lists"),
        ([[[[1, 2, 3]], [[4, 5, 6]]]], "nested"),
        ([[[[1, 2, 3], [4, 5]]]], "nested"),
        ([[[[1, 2, 3], 4]]], "nested"),
        ([1, 2, 3, 4, 5, [6]], "whole numbers"),
        ([1, 2, 3, 4, 5, True], "whole numbers"),
        ([1, 2, 3, 4, 5, 6.0], "whole numbers"),
        ([1, 2, 3, 4, 5, "6"], "whole numbers"),
        ([1, 2, 3, 4, 5, None], "whole numbers"),
        ([1, 2, 3, 4, 5, 256], "from 0 to 255"),
        ([1, 2, 3, 4, 5, -1], "from 0 to 255"),
        ([1, 2, 3, 4, 5, 2**80], "from 0 to 255"),
    ],
)
def test_pixels_in_json_that_are_none_are_refused(data: object, words: str) -> None:
    assert words in refused(lambda: tensors.pixels_of_json("images", [1, 1, 2, 3], data))


def test_images_in_json_are_base64() -> None:
    texts = [text(b"one"), text(b"two")]
    assert tensors.elements_of_json("encoded", 2, texts) == [b"one", b"two"]
    assert tensors.elements_of_json("encoded", 2, [[one] for one in texts]) == [b"one", b"two"]


@pytest.mark.parametrize(
    "data", ["b25l", [], ["b25l"] * 2, ["?"], [1], [["b25l", "b25l"]], [["b25l"], "b25l"], None]
)
def test_images_in_json_that_are_none_are_refused(data: object) -> None:
    assert "encoded" in refused(lambda: tensors.elements_of_json("encoded", 1, data))


def test_outputs_are_written_in_the_protocols_order_of_bytes() -> None:
    numbers = np.array([[1.5, -2.0]], np.float32)
    assert tensors.to_binary(numbers) == struct.pack("<2f", 1.5, -2.0)
    assert tensors.to_list(numbers) == [1.5, -2.0]
    words = np.array([[b"a", "é".encode()]], dtype=object)
    assert tensors.to_binary(words) == element(b"a") + element("é".encode())
    assert tensors.to_list(words) == ["a", "é"]
