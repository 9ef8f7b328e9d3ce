"""Read ``.pdparams`` without Paddle and without trusting the file.

``paddle.save`` writes a pickle, and unpickling runs whatever the file asks for. This reader interprets the
pickle's opcodes itself and has no way to call anything: the only things it can build are numpy arrays,
numbers, strings and plain containers. Everything else is refused by name. What a file can make it allocate
is bounded by the file's own size.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ghostclas.errors import BundleError
from ghostclas.files import read_regular

MAX_BYTES = 4 << 30
MAX_OPCODES = 1_000_000
_SHOWN_SIGNS = 160
NAME_TABLE = "StructuredToParameterName@@"
SLICE_TABLE = "UnpackBigParamInfor@@"

_DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})
_MAX_DIMENSIONS = 8
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_STRINGS |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_LITERALS = frozenset(_NUMBERS | _STRINGS | _BYTES)
_IGNORED = frozenset({"PROTO", "FRAME"})

Array = npt.NDArray[Any]


class _RefusedError(Exception):
    """The file asks for something that a weights file has no need of."""


class _Global(NamedTuple):
    """A name that the pickle mentions. It is never looked up."""

    module: str
    name: str


_RECONSTRUCT = {
    _Global("numpy.core.multiarray", "_reconstruct"),
    _Global("numpy._core.multiarray", "_reconstruct"),
}
_NDARRAY = _Global("numpy", "ndarray")
_DTYPE = _Global("numpy", "dtype")
_ENCODE = _Global("_codecs", "encode")
_ORDERED_DICT = _Global("collections", "OrderedDict")
_TUPLE = {_Global("builtins", "tuple"), _Global("__builtin__", "tuple")}
_EMPTY_BYTES = {_Global("builtins", "bytes"), _Global("__builtin__", "bytes")}
_KNOWN = {*_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE, _ORDERED_DICT, *_TUPLE, *_EMPTY_BYTES}


@dataclass
class _DTypeSlot:
    """A dtype between its construction and the state that gives its byte order."""

    code: str
    order: str = "="

    def set_state(self, state: Any) -> None:
        _version, order, subdtype, names, fields = state[:5]
        if subdtype is not None or names is not None or fields is not None or order not in ("<", ">", "|"):
            raise _RefusedError(f"refused to construct a structured numpy.dtype of {self.code!r}")
        self.order = order

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@dataclass
class _ArraySlot:
    """An array between its construction and the state that gives its content."""

    value: Array | None = None

    def set_state(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        if isinstance(data, str):
            data = data.encode("latin-1")
        if not isinstance(dtype, _DTypeSlot) or not isinstance(data, bytes):
            raise _RefusedError("refused to construct a numpy.ndarray of objects")
        flat = np.frombuffer(data, dtype.dtype())
        self.value = _reshape(flat, shape, "F" if fortran else "C")


@dataclass
class _Machine:
    """The stack of the pickle virtual machine, with the opcodes that plain data needs."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, data: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count >= MAX_OPCODES:
                raise _RefusedError(f"refused to go on after {MAX_OPCODES} steps")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("no end")

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _IGNORED:
            return
        if opcode in _LITERALS:
            self.stack.append(argument)
            return
        match opcode:
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(opcode == "NEWTRUE")
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self._take(int(opcode[-1]))))
            case "TUPLE":
                self.stack.append(tuple(self._since_mark()))
            case "LIST":
                self.stack.append(self._since_mark())
            case "DICT":
                items = self._since_mark()
                self.stack.append({})
                self._set_items(items)
            case "APPEND":
                self._extend(self._take(1))
            case "APPENDS":
                self._extend(self._since_mark())
            case "SETITEM":
                self._set_items(self._take(2))
            case "SETITEMS":
                self._set_items(self._since_mark())
            case "GLOBAL":
                module, _, name = argument.partition(" ")
                self.stack.append(_known(module, name))
            case "STACK_GLOBAL":
                self.stack.append(_known(*self._take(2)))
            case "INST":
                module, _, name = argument.partition(" ")
                raise _RefusedError(f"refused to construct {module}.{name}")
            case "REDUCE":
                function, arguments = self._take(2)
                self.stack.append(_construct(function, arguments))
            case "BUILD":
                (state,) = self._take(1)
                if not isinstance(self.stack[-1], _DTypeSlot | _ArraySlot):
                    raise _RefusedError("refused to change the state of an object that is no array")
                self.stack[-1].set_state(state)
            case _:
                raise _RefusedError(f"refused the pickle instruction {opcode}")

    def _take(self, count: int) -> list[Any]:
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise ValueError("stack underflow")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        taken = self.stack[mark:]
        del self.stack[mark:]
        return taken

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("not a list")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A state dict's keys are names; anything else could be a tuple too deep to hash.
            if not isinstance(key, str | int):
                raise _RefusedError(f"refused a {type(key).__name__} as the key of a dict")
            target[key] = value


def _known(module: Any, name: Any) -> _Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("a name that is no text")
    asked = _Global(module, name)
    if asked not in _KNOWN:
        raise _RefusedError(f"refused to construct {asked.module}.{asked.name}")
    return asked


def _construct(function: Any, arguments: Any) -> Any:
    """Return what ``function(*arguments)`` stands for, without any function being called."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise TypeError("not a construction")
    if function in _RECONSTRUCT and arguments[:1] == (_NDARRAY,):
        return _ArraySlot()
    # Only text is ever looked up in a set: hashing a deeply nested tuple would overflow the C stack.
    text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
    if function == _DTYPE and text in _DTYPES:
        return _DTypeSlot(text)
    if function == _ENCODE and arguments[1:] in (("latin1",), ("latin-1",)):
        return text.encode("latin-1")
    if function == _ORDERED_DICT and arguments == ():
        return {}
    if function in _EMPTY_BYTES and arguments == ():
        return b""
    if function in _TUPLE and len(arguments) == 1 and isinstance(arguments[0], tuple):
        return arguments[0]
    shown = ", ".join(
        ".".join(value) if isinstance(value, _Global) else value if isinstance(value, str) else "..."
        for value in arguments[:3]
    )
    raise _RefusedError(f"refused to construct {function.module}.{function.name}({shown[:80]})")


def _reshape(flat: Array, shape: Any, order: Any) -> Array:
    if (
        not isinstance(shape, tuple)
        or len(shape) > _MAX_DIMENSIONS
        or not all(type(side) is int and side >= 0 for side in shape)
        or math.prod(shape) != flat.size
    ):
        raise ValueError("an array's shape does not fit its content")
    return flat.reshape(shape, order=order)


def _array(name: str, value: Any) -> Array:
    # Tensors that were saved one by one, rather than as a state dict, are (parameter name, array).
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    if not isinstance(value, _ArraySlot) or value.value is None:
        raise ValueError(f"{name!r} is no array")
    return value.value


def _join_slices(root: dict[str, Any], limit: int) -> dict[str, Array]:
    """Take the arrays that ``paddle.save`` cut into slices of 1 GiB out of ``root``, whole again."""
    joined: dict[str, Array] = {}
    total = 0
    for name, entry in root.pop(SLICE_TABLE, {}).items():
        if not all(isinstance(part, str) for part in entry["slices"]):
            raise ValueError("a slice without a name")
        parts = [_array(part, root.pop(part)) for part in entry["slices"]]
        total += sum(part.nbytes for part in parts)
        if total > limit:
            raise _RefusedError("refused arrays larger than the file that holds them")
        joined[str(name)] = _reshape(np.concatenate(parts), tuple(entry["OriginShape"]), "C")
    return joined


def _total_bytes(arrays: Iterable[Array]) -> int:
    return sum(array.nbytes for array in arrays)


def parse_pdparams(data: bytes) -> Mapping[str, Array]:
    """Return the arrays in the bytes of a ``.pdparams``; raises as :func:`read_pdparams`, naming no file."""
    try:
        root = _Machine().run(data)
        if not isinstance(root, dict):
            raise ValueError("not a dict of arrays")
        root.pop(NAME_TABLE, None)
        arrays = _join_slices(root, len(data))
        arrays.update({str(name): _array(str(name), value) for name, value in root.items()})
        if _total_bytes(arrays.values()) > len(data):
            raise _RefusedError("refused arrays larger than the file that holds them")
    except _RefusedError as refusal:
        raise BundleError(f"{str(refusal)[:_SHOWN_SIGNS]}; nothing was run") from None
    # A damaged file can break the interpreter's expectations anywhere; each of these means just that.
    except Exception as error:
        detail = (
            "it does not fit into memory" if isinstance(error, MemoryError) else str(error)[:_SHOWN_SIGNS]
        )
        raise BundleError(f"not a complete file of weights as paddle.save writes them ({detail})") from None
    return arrays


def read_pdparams(path: Path) -> Mapping[str, Array]:
    """Return the arrays of a ``.pdparams`` by their structured names, in the file's layout and dtypes.

    Reads what ``paddle.save`` writes for a ``state_dict`` with pickle protocols 2 to 4, by numpy 1 or 2,
    tensors above 1 GiB included. The arrays are read-only views of the file's content.

    Raises:
        BundleError: the file is missing, truncated or no such pickle, or asks to construct anything but
            arrays and plain containers; the message names what. Nothing in the file is ever run.
    """
    try:
        return parse_pdparams(read_regular(path, MAX_BYTES))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from None
    except BundleError as error:
        raise BundleError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
