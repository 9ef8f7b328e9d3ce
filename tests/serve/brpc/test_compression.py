"""Unpacking: exact, within a limit, and in one designed error whatever the bytes are."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.serve.brpc.compression import CompressionError, unpack
from ghostclas.serve.brpc.meta import GZIP, NONE, SNAPPY, ZLIB


@given(st.binary(max_size=2000))
def test_what_was_packed_is_unpacked(data: bytes) -> None:
    snappy = pytest.importorskip("pyarrow").compress(data, codec="snappy", asbytes=True)
    for kind, packed in (
        (NONE, data),
        (GZIP, gzip.compress(data, mtime=0)),
        (ZLIB, zlib.compress(data)),
        (SNAPPY, snappy),
    ):
        assert unpack(packed, kind, 2000) == data


@given(st.binary(max_size=100), st.integers(-1, 5))
def test_any_bytes_unpack_or_are_refused(data: bytes, kind: int) -> None:
    with contextlib.suppress(CompressionError):
        assert len(unpack(data, kind, 50)) <= 50


@pytest.mark.parametrize(("kind", "pack"), [(GZIP, gzip.compress), (ZLIB, zlib.compress)])
def test_a_stream_that_is_cut_or_goes_on_is_refused(kind: int, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(b"message")
    for damaged in (whole[:-1], whole + b"!", whole + whole):
        with pytest.raises(CompressionError, match="cut short, or bytes follow"):
            unpack(damaged, kind, 100)


@pytest.mark.parametrize("kind", [NONE, SNAPPY, GZIP, ZLIB])
def test_the_limit_is_of_the_unpacked_bytes(kind: int) -> None:
    data = bytes(1001)
    packed = {
        NONE: data,
        SNAPPY: pytest.importorskip("pyarrow").compress(data, codec="snappy", asbytes=True),
        GZIP: gzip.compress(data, mtime=0),
        ZLIB: zlib.compress(data),
    }[kind]
    with pytest.raises(CompressionError, match=r"1001 bytes|more than 1000"):
        unpack(packed, kind, 1000)
    assert unpack(packed, kind, 1001) == data


def test_without_a_library_snappy_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("snappy", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CompressionError, match="pip install python-snappy, or use gzip"):
        unpack(b"\x01\x00x", SNAPPY, 10)
