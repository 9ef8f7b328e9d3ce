"""The reader of ``.pdparams``: all that paddle.save writes, and nothing that anybody else slips in."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostclas.errors import BundleError
from ghostclas.weights.pdparams import NAME_TABLE, SLICE_TABLE, parse_pdparams, read_pdparams

ARRAYS: dict[str, np.ndarray] = {
    "weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "half": np.linspace(0, 1, 5, dtype=np.float16),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "counter": np.array(7, dtype=np.int64),
    "big_endian": np.arange(3, dtype=">f4"),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 3), dtype=np.float32),
}


class _Calls:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _saved(content: object, protocol: int = 4) -> bytes:
    return pickle.dumps(content, protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("container", [dict, OrderedDict])
def test_arrays_come_back_as_they_were(protocol: int, container: type[dict[str, Any]]) -> None:
    content = container({**ARRAYS, NAME_TABLE: {"weight": "conv2d_0.w_0"}})
    read = parse_pdparams(_saved(content, protocol))
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_both_generations_of_numpy_are_read(module: bytes) -> None:
    saved = _saved({"weight": ARRAYS["weight"]}, protocol=2)
    for written in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        saved = saved.replace(written, module)
    np.testing.assert_array_equal(parse_pdparams(saved)["weight"], ARRAYS["weight"])


def test_a_pickle_written_by_python_2_is_read() -> None:
    """There, the array's bytes are a string and the builtins are called ``__builtin__``."""
    raw = ARRAYS["weight"].tobytes()
    dtype = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x02K\x03K\x04t"
    array += dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    pair = b"c__builtin__\ntuple\n((U\x06conv_wq" + b"\x00" + array + b"ttR"
    read = parse_pdparams(b"\x80\x02}U\x06weight" + pair + b"s.")
    np.testing.assert_array_equal(read["weight"], ARRAYS["weight"])


def test_tensors_saved_one_by_one_are_read() -> None:
    saved = _saved({"weight": _Calls(tuple, ("conv2d_0.w_0", ARRAYS["weight"]))})
    np.testing.assert_array_equal(parse_pdparams(saved)["weight"], ARRAYS["weight"])


def test_tensors_cut_into_slices_are_joined() -> None:
    flat = ARRAYS["weight"].ravel()
    content = {
        "bias": ARRAYS["half"],
        "weight@@.0": flat[:10],
        "weight@@.1": flat[10:20],
        "weight@@.2": flat[20:],
        SLICE_TABLE: {
            "weight": {"OriginShape": (2, 3, 4), "slices": [f"weight@@.{part}" for part in range(3)]}
        },
    }
    read = parse_pdparams(_saved(content, protocol=2))
    assert set(read) == {"bias", "weight"}
    np.testing.assert_array_equal(read["weight"], ARRAYS["weight"])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_command_is_refused_by_name_and_never_run(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    file = tmp_path / "evil.pdparams"
    file.write_bytes(_saved({"conv1._conv.weight": _Calls(os.system, f"touch {marker}"), **ARRAYS}, protocol))
    with pytest.raises(
        BundleError, match=rf"refused to construct {os.name}\.system; nothing was run"
    ) as error:
        read_pdparams(file)
    assert str(error.value).startswith(str(file))
    assert not marker.exists()


_CALLABLES = [
    (eval, "builtins.eval"),
    (exec, "builtins.exec"),
    (getattr, "builtins.getattr"),
    (__import__, "builtins.__import__"),
    (Path, "pathlib"),
    (pickle.loads, "_pickle.loads"),
    (np.load, "numpy.load"),
    (np.zeros, "numpy"),
]


@pytest.mark.parametrize(("function", "named"), _CALLABLES, ids=[named for _, named in _CALLABLES])
def test_every_other_callable_is_refused_by_name(function: Any, named: str) -> None:
    with pytest.raises(BundleError, match=f"refused to construct {named}"):
        parse_pdparams(_saved({"weight": _Calls(function, "x")}))


_OBJECTS = {
    "an object array": {"weight": np.array([{}, 1], dtype=object)},
    "a structured array": {"weight": np.zeros(2, dtype=[("a", "f4"), ("b", "O")])},
    "a date": {"weight": np.zeros(2, dtype="M8[s]")},
    "text": {"weight": np.array(["a", "b"])},
    "a numpy scalar": {"weight": np.float32(1)},
    "a subclass of ndarray": {"weight": np.ma.masked_array([1.0])},
    "a class": {"weight": _Calls},
    "an instance": {"weight": _Calls(_Calls, print)},
    "a set": {"weight": {1, 2}},
    "a complex number": {"weight": 1j},
}


@pytest.mark.parametrize("content", _OBJECTS.values(), ids=_OBJECTS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_but_plain_arrays_is_refused(content: Any, protocol: int) -> None:
    with pytest.raises(BundleError, match="refused"):
        parse_pdparams(_saved(content, protocol))


def test_reconstruct_makes_plain_arrays_only() -> None:
    saved = _saved({"weight": ARRAYS["weight"]}, protocol=2)
    odd = saved.replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n")
    assert odd != saved
    with pytest.raises(
        BundleError, match=r"refused to construct numpy\._?core\.multiarray\._reconstruct\(numpy\.dtype"
    ):
        parse_pdparams(odd)


_BROKEN = {
    "empty": b"",
    "a zip": b"PK\x03\x04" + bytes(64),
    "text": b"no weights here, only words\n",
    "a number": _saved(1),
    "a list": _saved([ARRAYS["weight"]]),
    "values that are no arrays": _saved({"epoch": 3}),
    "a shape that does not fit": _saved({"w": np.zeros(4, "f4")}, 2).replace(b"K\x04\x85", b"K\x05\x85"),
    "a mark too few": b"\x80\x02}K\x01t.",
    "an empty stack": b"\x80\x02.",
    "a memo that was never set": b"\x80\x02h\x07.",
    "a slice that is missing": _saved({SLICE_TABLE: {"w": {"OriginShape": (1,), "slices": ["w@@.0"]}}}),
    "a slice table of another form": _saved({SLICE_TABLE: 3}),
}


@pytest.mark.parametrize("content", _BROKEN.values(), ids=_BROKEN)
def test_a_broken_file_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "weights.pdparams"
    file.write_bytes(content)
    with pytest.raises(
        BundleError, match=r"weights\.pdparams: not a complete file of weights as paddle\.save"
    ):
        read_pdparams(file)


def test_every_truncation_is_refused() -> None:
    saved = _saved({"weight": ARRAYS["weight"], NAME_TABLE: {"weight": "w"}}, protocol=2)
    for length in range(len(saved)):
        with pytest.raises(BundleError):
            parse_pdparams(saved[:length])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent\.pdparams: cannot be read: No such file"):
        read_pdparams(tmp_path / "absent.pdparams")


def _nested(depth: int) -> bytes:
    return b")" + b"\x85" * depth


def _array_of(state: bytes) -> bytes:
    return b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01" + state


# Programs for the pickle machine that would exhaust an interpreter that believed them.
_BOMBS = {
    "a deep tuple as a key": b"\x80\x02}" + _nested(200_000) + b"K\x01s.",
    "a deep tuple as a dtype": b"\x80\x02cnumpy\ndtype\n" + _nested(200_000) + b"\x85R.",
    "a deep tuple as a name": b"\x80\x04" + _nested(200_000) + b"\x8c\x01a\x93.",
    "a deep tuple as a slice": b"\x80\x02}U\x15UnpackBigParamInfor@@}U\x01w}(U\x06slices]"
    + _nested(200_000)
    + b"aU\x0bOriginShape)usss.",
    "a deep tuple as a shape": b"\x80\x02}U\x01w" + _array_of(_nested(200_000) + b"NNNtb") + b"s.",
    "a list within itself": b"\x80\x02]q\x00h\x00a.",
    "a declared length of 16 EiB": b"\x80\x04\x8e" + b"\xff" * 8 + b"x.",
    "two million steps": b"\x80\x02" + b"N0" * 1_000_000 + b"N.",
    "an array of more than the file": b"\x80\x02}U\x01w"
    + _array_of(b"\x8a\x05\x00\x00\x00\x00\x10\x85cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNKKKtb")
    + b"\x89U\x04aaaatbs.",
}


@pytest.mark.parametrize("content", _BOMBS.values(), ids=_BOMBS)
def test_a_bomb_is_refused_in_bounded_time_and_memory(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_pdparams(content)


def test_one_array_under_many_names_is_not_multiplied() -> None:
    array = np.zeros(1000, dtype=np.float32)
    with pytest.raises(BundleError, match="larger than the file"):
        parse_pdparams(_saved(dict.fromkeys("abcdefgh", array)))
    parts = dict.fromkeys("abcdefgh", array)
    tables = {SLICE_TABLE: {"whole": {"OriginShape": (8000,), "slices": list(parts)}}}
    with pytest.raises(BundleError, match="larger than the file"):
        parse_pdparams(_saved({**parts, **tables}))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_damaged_file_is_read_or_refused_but_never_anything_else(data: st.DataObject) -> None:
    saved = bytearray(_saved({"weight": ARRAYS["weight"], "half": ARRAYS["half"]}, protocol=2))
    opcodes = [opcode.code.encode("latin-1")[0] for opcode in pickletools.opcodes]
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(saved) - 1))
        saved[position] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(opcodes)))
    try:
        read = parse_pdparams(bytes(saved))
    except BundleError:
        return
    assert all(isinstance(name, str) and not array.dtype.hasobject for name, array in read.items())
