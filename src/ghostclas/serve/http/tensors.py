"""The binary tensor extension of the Open Inference Protocol: tensors behind the JSON of a request or answer.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md: the header
``Inference-Header-Content-Length`` counts the bytes of the JSON, without compression, and each tensor's
``binary_data_size`` the bytes that are its own. BYTES are elements of a little-endian uint32 length and so
many bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.serve.http.bodies import from_base64
from ghostclas.serve.open_inference import invalid

HEADER_LENGTH = b"inference-header-content-length"

_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


def split_body(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """Return the JSON of a body and the bytes behind it.

    Args:
        body: the inflated body.
        header_length: the value of ``Inference-Header-Content-Length``; without it, all of the body is JSON.

    Raises:
        ServeError: INVALID; it is no length within the body.
    """
    if header_length is None:
        return body, memoryview(b"")
    if not _LENGTH.fullmatch(header_length) or not 0 < int(header_length) <= len(body):
        raise invalid(
            f"Inference-Header-Content-Length is {header_length[:40]!r}; "
            f"it counts the bytes of the JSON in a body of {len(body)}"
        )
    length = int(header_length)
    return body[:length], memoryview(body)[length:]


def binary_size(name: str, size: object) -> int:
    """Return a ``binary_data_size``.

    Raises:
        ServeError: INVALID; it is no whole number from 0 up.
    """
    if type(size) is not int or size < 0:
        raise invalid(f"input {name!r}: binary_data_size is a whole number from 0 up, got {str(size)[:40]}")
    return size


def pixels_of(name: str, shape: Sequence[int], data: memoryview) -> NDArray[np.uint8]:
    """Return pixels, uint8 of ``shape``, over the bytes of a request.

    Raises:
        ServeError: INVALID; the bytes are fewer or more than the shape says.
    """
    count = int(np.prod(shape, dtype=object))
    if len(data) != count:
        raise invalid(f"input {name!r}: shape {list(shape)} is {count} bytes, got {len(data)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def elements_of(name: str, count: int, data: memoryview) -> list[bytes]:
    """Return the elements of a BYTES tensor.

    Raises:
        ServeError: INVALID; a length points behind the end, or there are fewer or more than ``count``.
    """
    elements: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        if len(elements) == count:
            raise invalid(f"input {name!r}: {end - at} bytes follow its {count} elements")
        if end - at < 4:
            raise invalid(f"input {name!r}: element {len(elements)} breaks off within its length")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if length > end - at:
            raise invalid(
                f"input {name!r}: element {len(elements)} says that it has {length} bytes, {end - at} follow"
            )
        elements.append(bytes(data[at : at + length]))
        at += length
    if len(elements) != count:
        raise invalid(f"input {name!r} has {len(elements)} elements, its shape says {count}")
    return elements


def pixels_of_json(name: str, shape: Sequence[int], data: object) -> NDArray[np.uint8]:
    """Return pixels, uint8 of ``shape``, from a flat list or from lists nested as the shape says.

    Raises:
        ServeError: INVALID; the lists do not have the shape, or a value is no whole number from 0 to 255.
    """
    if not isinstance(data, list):
        raise invalid(f"input {name!r}: data is a list, got {type(data).__name__}")
    values: list[Any] = data
    for axis, wanted in enumerate(shape[:-1]):
        if not values or type(values[0]) is not list:
            break
        if axis == 0 and len(values) != wanted:
            raise invalid(f"input {name!r}: data has {len(values)} lists, its shape says {wanted}")
        if any(type(part) is not list or len(part) != shape[axis + 1] for part in values):
            raise invalid(f"input {name!r}: data is not nested as its shape {list(shape)} says")
        values = list(chain.from_iterable(values))
    count = int(np.prod(shape, dtype=object))
    if len(values) != count:
        raise invalid(f"input {name!r}: data has {len(values)} values, its shape {list(shape)} says {count}")
    if not set(map(type, values)) <= {int}:
        raise invalid(f"input {name!r}: UINT8 data are whole numbers")
    try:
        return np.frombuffer(bytes(values), np.uint8).reshape(shape)
    except ValueError:
        raise invalid(f"input {name!r}: UINT8 data are from 0 to 255") from None


def elements_of_json(name: str, count: int, data: object) -> list[bytes]:
    """Return the image files of a list of base64 strings, which may be nested once, as in ``[["..."]]``.

    Raises:
        ServeError: INVALID.
    """
    if isinstance(data, list) and data and all(type(part) is list and len(part) == 1 for part in data):
        data = [part[0] for part in data]
    if not isinstance(data, list):
        raise invalid(f"input {name!r}: data is a list, got {type(data).__name__}")
    if len(data) != count:
        raise invalid(f"input {name!r}: data has {len(data)} elements, its shape says {count}")
    return [from_base64(text, f"input {name!r}, element {number}") for number, text in enumerate(data)]


def to_binary(values: NDArray[Any]) -> bytes:
    """Return the bytes of an output: float32 little-endian in C order, or BYTES of an object array."""
    if values.dtype == object:
        elements: Iterable[bytes] = values.ravel()
        return b"".join(struct.pack("<I", len(element)) + element for element in elements)
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def to_list(values: NDArray[Any]) -> list[Any]:
    """Return the flat list of an output for JSON: numbers, or strings of BYTES."""
    if values.dtype == object:
        return [element.decode() for element in values.ravel()]
    flat: list[Any] = values.ravel().tolist()
    return flat
