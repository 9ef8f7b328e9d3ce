"""What is in the files of a Paddle model, read before Paddle sees them, and without it.

Paddle checks little: parameters that are missing are zeros, those of another width are loaded and fail when
they are used, and a damaged program ends the process. So this reader walks the files, and refuses what does
not fit together. It never builds a tensor; what it takes is linear in the size of the program.

- ``.json`` is a program of Paddle 3, ``.pdmodel`` one of Paddle 2 (the message ``ProgramDesc`` of its
  ``framework.proto``).
- ``.pdiparams`` is the parameters one after the other, without names, in the sorted order of the program's.
- ``.nb`` is Paddle Lite's; its first bytes name the version that wrote it, and only that one reads it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ghostclas.files import read_regular

MAX_PROGRAM = 64 * 2**20
"""Bytes of a program; GhostNet's has 0.3 MB."""

MAX_PARAMETER_BYTES = 2**32
MAX_OPERATORS = 50_000
MAX_PARAMETERS = 20_000
MAX_DIMENSIONS = 8
_SHOWN = 60

_SIZES = {"bool": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "float32": 4, "float64": 8}
_SIZES |= {"uint8": 1, "int8": 1, "bfloat16": 2}
_DTYPES = {0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64"}
_DTYPES |= {20: "uint8", 21: "int8", 22: "bfloat16"}
_DENSE = 7

Shape = tuple[int | None, ...]


class Variable(NamedTuple):
    """An input, an output or a parameter of a program; sizes that are not fixed are ``None``."""

    name: str
    dtype: str
    shape: Shape


class Program(NamedTuple):
    """The outside of a program, and the names of its operators. Parameters are in the order of their file."""

    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    parameters: tuple[Variable, ...]
    operators: frozenset[str]


class Parameter(NamedTuple):
    """The type and the shape of a tensor in ``.pdiparams``."""

    dtype: str
    shape: tuple[int, ...]


# ------------------------------------------------------------------ parameters


def read_parameters(content: bytes) -> list[Parameter]:
    """Return what the tensors of a ``.pdiparams`` are, in their order.

    Raises:
        ValueError: it is none, or it breaks off; the text says what, as the end of "it holds".
    """
    found: list[Parameter] = []
    position = 0

    def take(form: str) -> int:
        nonlocal position
        size = struct.calcsize(form)
        if position + size > len(content):
            raise ValueError(f"a parameter that breaks off, number {len(found) + 1}")
        (value,) = struct.unpack_from(form, content, position)
        position += size
        return int(value)

    while position < len(content):
        if len(found) >= MAX_PARAMETERS:
            raise ValueError(f"more than {MAX_PARAMETERS:,} parameters")
        outer, levels, inner, size = take("<I"), take("<Q"), take("<I"), take("<i")
        if outer or levels or inner or not 0 < size < 1024:
            raise ValueError(f"no parameter where number {len(found) + 1} should begin")
        parameter = _described(content[position : position + size], len(found) + 1)
        position += size + math.prod(parameter.shape) * _SIZES[parameter.dtype]
        if position > len(content):
            raise ValueError(f"a parameter that breaks off, number {len(found) + 1}")
        found.append(parameter)
    return found


def _described(content: bytes, number: int) -> Parameter:
    dtype, shape = "", []
    for field, value in _fields(content):
        if field == 1 and isinstance(value, int):
            dtype = _DTYPES.get(value, "")
        elif field == 2:
            shape += _integers(value)
    if not dtype or len(shape) > MAX_DIMENSIONS or not all(0 <= side < 2**31 for side in shape):
        raise ValueError(f"a parameter of no known type or shape, number {number}")
    return Parameter(dtype, tuple(shape))


def check_parameters(program: Program, parameters: Sequence[Parameter]) -> None:
    """Refuse parameters that are not those of the program.

    Raises:
        ValueError: the text says which, as the end of "it holds".
    """
    if len(parameters) != len(program.parameters):
        raise ValueError(
            f"{len(parameters)} parameters where its program has {len(program.parameters)}: "
            "they belong to another model, or some are missing"
        )
    for wanted, found in zip(program.parameters, parameters, strict=True):
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise ValueError(
                f"{found.dtype} {list(found.shape)} where its program has {wanted.name[:_SHOWN]}, "
                f"{wanted.dtype} {list(wanted.shape)}: they belong to another model"
            )


# ------------------------------------------------------------------ programs


def read_program(content: bytes) -> Program:
    """Return what is in a ``.json`` or a ``.pdmodel``.

    Raises:
        ValueError: it is none, or holds more than one block of operators; the text says what, as the end of
            "it holds".
    """
    if not content:
        raise ValueError("nothing")
    if len(content) > MAX_PROGRAM:
        raise ValueError(f"more than {MAX_PROGRAM:,} bytes")
    return _from_json(content) if is_json(content) else _from_protobuf(content)


def is_json(content: bytes) -> bool:
    """Return whether this is a program of Paddle 3, by its first byte."""
    return content.lstrip()[:1] == b"{"


def read_files(program: Path, parameters: Path) -> tuple[Program, list[Parameter]]:
    """Return what is in a program and in the file of its parameters.

    Paddle chooses its reader by the program's name, and each of its readers crashes on the other's form.

    Raises:
        ValueError: as :func:`read_program` and :func:`read_parameters`, or the name is of the other form.
        OSError: a file cannot be read.
    """
    content = read_regular(program, MAX_PROGRAM + 1)
    read = read_program(content)
    if is_json(content) != (program.suffix == ".json"):
        form, name = ("3", ".json") if is_json(content) else ("2", ".pdmodel")
        raise ValueError(f"a program of Paddle {form} in {program.name}, whose name has to end in {name}")
    return read, read_parameters(read_regular(parameters, MAX_PARAMETER_BYTES))


def check_operators(program: Program, allowed: Callable[[str], bool]) -> None:
    """Refuse a program with operators that are not ``allowed``.

    Raises:
        ValueError: the text names the first, as the end of "it holds".
    """
    for name in sorted(program.operators):
        if not allowed(name):
            raise ValueError(f"the operator {name[:_SHOWN]!r}, which no export of a classifier needs")


def only_computes(name: str) -> bool:
    """Return whether an operator of this name has no effect but its result.

    Paddle has operators that read and write files, call Python, branch, wait for other machines and print.
    """
    return not _EFFECTS.search(name)


_EFFECTS = re.compile(
    r"load|save|print|py_func|pylayer|while|conditional|if\b|run_program|read|recv|send|queue|barrier|"
    r"listen|custom|engine|subgraph|cinn|assert|data_generator|^c_|distributed|tensor_array|recurrent"
)


# ------------------------------------------------------------------ JSON, of Paddle 3

_JSON_DTYPES = {"t_f32": "float32", "t_f64": "float64", "t_f16": "float16", "t_bf16": "bfloat16"}
_JSON_DTYPES |= {"t_ui8": "uint8", "t_i8": "int8", "t_i16": "int16", "t_i32": "int32", "t_i64": "int64"}
_JSON_DTYPES |= {"t_bool": "bool"}


def _from_json(content: bytes) -> Program:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"no complete JSON ({str(error)[:_SHOWN]})") from None
    try:
        if document["base_code"]["magic"] != "pir":
            raise ValueError("JSON that is no Paddle program")
        regions = document["program"]["regions"]
        if len(regions) != 1 or len(regions[0]["blocks"]) != 1:
            raise IndexError
        return _from_block(regions[0]["blocks"][0]["ops"])
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise ValueError("JSON that is no Paddle program of one block") from None


def _from_block(operators: list[Any]) -> Program:
    inputs, outputs, parameters = [], [], []
    names = set()
    if len(operators) > MAX_OPERATORS:
        raise ValueError(f"more than {MAX_OPERATORS:,} operators")
    for operator in operators:
        name = operator["#"]
        if not isinstance(name, str):
            raise TypeError
        if operator.get("regions"):
            raise ValueError(f"a block inside the operator {name[:_SHOWN]!r}")
        if name == "p":
            parameters.append(_json_variable(str(operator["A"][3]), operator["O"]))
            continue
        plain = name.partition(".")[2]
        names.add(plain)
        if plain in ("data", "feed"):
            inputs.append(_json_variable(_json_name(operator), operator["O"][0]))
        elif plain == "fetch":
            outputs.append(_json_variable(_json_name(operator), operator["O"][0]))
    parameters.sort(key=lambda parameter: parameter.name)
    return Program(tuple(inputs), tuple(outputs), tuple(parameters), frozenset(names))


def _json_name(operator: Mapping[str, Any]) -> str:
    names = [str(field["AT"]["D"]) for field in operator["A"] if field["N"] == "name"]
    return names[0]


def _json_variable(name: str, result: Mapping[str, Any]) -> Variable:
    dtype, shape = result["TT"]["D"][0]["#"], result["TT"]["D"][1]
    return Variable(name, _JSON_DTYPES.get(dtype.partition(".")[2], dtype[:_SHOWN]), _sizes(shape))


def _sizes(shape: Sequence[Any]) -> Shape:
    if len(shape) > MAX_DIMENSIONS or not all(type(side) is int and -1 <= side < 2**31 for side in shape):
        raise ValueError("a shape that no tensor has")
    return tuple(None if side == -1 else side for side in shape)


# ------------------------------------------------------------------ protobuf, of Paddle 2

# The numbers of fields in framework.proto.
_BLOCKS, _VARIABLES, _OPERATORS = 1, 3, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _from_protobuf(content: bytes) -> Program:
    blocks = [value for field, value in _fields(content) if field == _BLOCKS and isinstance(value, bytes)]
    if len(blocks) != 1:
        raise ValueError(f"{len(blocks)} blocks of operators instead of one")
    variables: dict[str, tuple[Variable, bool]] = {}
    names: set[str] = set()
    fed: list[str] = []
    fetched: list[str] = []
    for count, (field, value) in enumerate(_fields(blocks[0])):
        if count > 2 * MAX_OPERATORS:
            raise ValueError(f"more than {2 * MAX_OPERATORS:,} operators and variables")
        if not isinstance(value, bytes):
            continue
        if field == _VARIABLES:
            found = _variable(value)
            if found is not None:
                variables[found[0].name] = found
        elif field == _OPERATORS:
            kind, arguments, results = _operator(value)
            names.add(kind)
            fed += results if kind == "feed" else []
            fetched += arguments if kind == "fetch" else []
    if not names:
        raise ValueError("no operators")
    try:
        inputs, outputs = (tuple(variables[name][0] for name in side) for side in (fed, fetched))
    except KeyError as error:
        raise ValueError(f"no variable {str(error)[:_SHOWN]}, which an operator names") from None
    kept = sorted((v for v, persistable in variables.values() if persistable), key=lambda v: v.name)
    return Program(inputs, outputs, tuple(kept), frozenset(names))


def _variable(content: bytes) -> tuple[Variable, bool] | None:
    """Return a tensor, and whether its value is kept; nothing for what is no tensor, such as ``feed``."""
    name, kind, persistable = "", b"", False
    for field, value in _fields(content):
        if field == 1 and isinstance(value, bytes):
            name = _text(value)
        elif field == 2 and isinstance(value, bytes):
            kind = value
        elif field == 3:
            persistable = bool(value)
    fields = dict(_fields(kind))
    if fields.get(1) != _DENSE or not isinstance(tensor := fields.get(3), bytes):
        return None
    described = dict(_fields(tensor)).get(1)
    if not isinstance(described, bytes):
        raise ValueError(f"no type of the variable {name[:_SHOWN]!r}")
    dtype, shape = "", []
    for field, value in _fields(described):
        if field == 1 and isinstance(value, int):
            dtype = _DTYPES.get(value, "")
        elif field == 2:
            shape += _integers(value)
    return Variable(name, dtype, _sizes(shape)), persistable


def _operator(content: bytes) -> tuple[str, list[str], list[str]]:
    """Return the type of an operator, and the names of its arguments and of its results."""
    kind = ""
    arguments: list[str] = []
    results: list[str] = []
    for field, value in _fields(content):
        if not isinstance(value, bytes):
            continue
        if field in (1, 2):
            names = [
                _text(part) for number, part in _fields(value) if number == 2 and isinstance(part, bytes)
            ]
            (arguments if field == 1 else results).extend(names)
        elif field == 3:
            kind = _text(value)
    return kind, arguments, results


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _integers(value: int | bytes) -> list[int]:
    """Return a repeated field of signed integers, one of them or packed."""
    numbers = [value] if isinstance(value, int) else []
    if isinstance(value, bytes):
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            numbers.append(number)
            if len(numbers) > MAX_DIMENSIONS:
                raise ValueError("a shape that no tensor has")
    return [number - 2**64 if number >= 2**63 else number for number in numbers]


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field of a message."""
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(content, position)
            yield key >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if wire == _BYTES:
            size, position = _varint(content, position)
        if size is None or position + size > len(content):
            raise ValueError("no Paddle program, or one that breaks off")
        yield key >> 3, content[position : position + size]
        position += size


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), position
    raise ValueError("no Paddle program, or one that breaks off")


# ------------------------------------------------------------------ Paddle Lite

_STAMP = slice(2, 18)


def lite_version(content: bytes) -> str:
    """Return the version of Paddle Lite that wrote a ``.nb``: the text in its bytes 2 to 17.

    Raises:
        ValueError: it is none; the text says what, as the end of "it holds".
    """
    kind, stamp = content[:2], content[_STAMP].partition(b"\0")[0]
    if (
        len(content) < 64
        or kind not in (b"\1\0", b"\2\0")
        or not re.fullmatch(rb"v?[0-9A-Za-z.\-]{1,16}", stamp)
    ):
        raise ValueError("no model of Paddle Lite")
    return stamp.decode("ascii")


def with_clean_stamp(content: bytes) -> bytes:
    """Return a ``.nb`` with zeros behind its version, where its writer leaves what was in memory."""
    stamp = lite_version(content).encode()
    return content[: _STAMP.start] + stamp.ljust(16, b"\0") + content[_STAMP.stop :]
