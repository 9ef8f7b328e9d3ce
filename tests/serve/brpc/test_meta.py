"""The meta: read as bRPC writes it, written as bRPC reads it, and refused when it is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghostclas.serve.brpc.meta import Call, MetaError, read_call, write_answer
from tests.serve.brpc.client import decode, field, meta


def test_every_field_of_a_request() -> None:
    extra = field(10, 3) + field(11, 1) + field(12, b"1234") + field(13, 1) + field(8, field(1, 5))
    data = meta(
        -5,
        service="S",
        method="m",
        compress=2,
        attachment=9,
        timeout_ms=30,
        token=b"\xfftoken",
        request_id="id",
        user_fields={"traceparent": "00-1", "other": "field"},
        extra=extra,
    )
    assert read_call(data) == Call(
        service="S",
        method="m",
        correlation_id=-5,
        compress=2,
        attachment_size=9,
        authentication=b"\xfftoken",
        content_type=3,
        checksum_type=1,
        checksum=b"1234",
        checksum_with_attachment=True,
        log_id=0,
        request_id="id",
        timeout_ms=30,
        traceparent="00-1",
    )


def test_an_empty_meta_is_a_call_of_nothing() -> None:
    assert read_call(b"").service == ""


def test_unknown_fields_are_passed_over() -> None:
    assert read_call(meta(3) + field(900, b"new") + field(901, 4)).correlation_id == 3


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x0a\x05x", field(1, field(1, b"\xff")), field(9, field(1, b"\xff"))]
)
def test_what_is_no_meta_is_refused(data: bytes) -> None:
    with pytest.raises(MetaError, match="are no meta"):
        read_call(data)


@given(st.binary(max_size=200))
@example(field(4, 2**64 - 1))
def test_any_bytes_are_a_meta_or_refused(data: bytes) -> None:
    with contextlib.suppress(MetaError):
        read_call(data)


def test_an_answer() -> None:
    fields = decode(write_answer(2**40, checksum=b"abcd"))
    assert fields == {2: [b""], 4: [2**40], 11: [1], 12: [b"abcd"]}
    fields = decode(write_answer(1, code=1003, text="why"))
    assert fields == {2: [field(1, 1003) + field(2, "why")], 4: [1]}
