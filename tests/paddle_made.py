"""Files of Paddle models, byte by byte as Paddle writes them, without Paddle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

DTYPES = {"float32": 5, "int64": 3, "uint8": 20}
SIZES = {"float32": 4, "int64": 8, "uint8": 1}
JSON_DTYPES = {"float32": "0.t_f32", "int64": "0.t_i64", "uint8": "0.t_ui8"}

PARAMETERS: Mapping[str, Sequence[int]] = {"bias": (2,), "weight": (3, 2)}


def varint(value: int) -> bytes:
    value %= 2**64
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(dtype: str, shape: Sequence[int]) -> bytes:
    return field(1, DTYPES[dtype]) + b"".join(field(2, side) for side in shape)


def pdiparams(shapes: Mapping[str, Sequence[int]] = PARAMETERS, dtype: str = "float32") -> bytes:
    """Tensors of zeros in the sorted order of their names."""
    parts = []
    for name in sorted(shapes):
        described = tensor(dtype, shapes[name])
        count = 1
        for side in shapes[name]:
            count *= side
        parts += [struct.pack("<IQIi", 0, 0, 0, len(described)), described, bytes(count * SIZES[dtype])]
    return b"".join(parts)


def program_json(
    shapes: Mapping[str, Sequence[int]] = PARAMETERS,
    *,
    operators: Sequence[Mapping[str, Any]] = (),
    side: int = 32,
) -> bytes:
    """A program from uint8 ``images`` to two numbers, with ``operators`` in between."""

    def result(dtype: str, shape: Sequence[int]) -> dict[str, Any]:
        return {"%": 1, "TT": {"#": "0.t_dtensor", "D": [{"#": JSON_DTYPES[dtype]}, [*shape], "NCHW", [], 0]}}

    def named(name: str) -> list[dict[str, Any]]:
        return [{"AT": {"#": "0.a_str", "D": name}, "N": "name"}]

    parameters = [
        {"#": "p", "A": [0, 1, 1, name], "DA": [], "O": result("float32", shape), "OA": [1, 0, 1], "QA": []}
        for name, shape in sorted(shapes.items(), reverse=True)
    ]
    photos = {"#": "1.data", "A": named("images"), "I": [], "O": [result("uint8", (-1, side, side, 3))]}
    logits = {"#": "1.fetch", "A": named("fetch_name_0"), "I": [{"%": 1}], "O": [result("float32", (-1, 2))]}
    block = {"#": "block_0", "args": [], "ops": [*parameters, photos, *operators, logits]}
    document = {
        "base_code": {"magic": "pir", "trainable": True, "version": 4},
        "program": {"regions": [{"#": "region_0", "blocks": [block]}]},
    }
    return json.dumps(document).encode()


def program_protobuf(
    shapes: Mapping[str, Sequence[int]] = PARAMETERS, *, operators: Sequence[str] = ("relu",), side: int = 32
) -> bytes:
    """A program from float planes ``x`` to two numbers, with ``operators`` in between."""

    def variable(name: str, dtype: str, shape: Sequence[int], *, kept: bool = False) -> bytes:
        dense = field(1, tensor(dtype, shape)) + field(2, 0)
        kind = field(1, 7) + field(3, dense)
        return field(3, field(1, name.encode()) + field(2, kind) + field(3, int(kept)))

    def operator(kind: str, arguments: Sequence[str], results: Sequence[str]) -> bytes:
        sides = [
            field(number, field(1, b"X") + b"".join(field(2, name.encode()) for name in names))
            for number, names in ((1, arguments), (2, results))
        ]
        return field(4, b"".join(sides) + field(3, kind.encode()))

    block = field(1, 0) + field(2, -1)
    block += field(3, field(1, b"feed") + field(2, field(1, 9)) + field(3, 1))
    block += variable("x", "float32", (-1, 3, side, side)) + variable("y", "float32", (-1, 2))
    for name, shape in shapes.items():
        block += variable(name, "float32", shape, kept=True)
    block += operator("feed", ["feed"], ["x"])
    for kind in operators:
        block += operator(kind, ["x"], ["y"])
    return field(1, block + operator("fetch", ["y"], ["fetch"])) + field(4, field(1, 0))


def nb(stamp: bytes, rest: bytes = b"") -> bytes:
    """The beginning of a file of Paddle Lite that ``stamp`` wrote, with what was in memory behind it."""
    return b"\2\0" + stamp + (rest + b"\7" * 16)[: 16 - len(stamp)] + b"\0" * 100
