"""Multipart uploads: each part is an image."""

from __future__ import annotations

import pytest

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.multipart import read_parts
from tests.serve.http.uploads import multipart


def header(headers: dict[str, str]) -> bytes:
    return headers["Content-Type"].encode()


def test_parts_come_in_order_and_whole() -> None:
    parts = [b"", bytes(range(256)) * 300, b"\r\n--x1y", b"\r\n", b"--x1y2--"]
    body, headers = multipart(*parts)
    assert read_parts(body, header(headers), 5) == parts


def test_a_boundary_may_be_quoted_and_text_may_stand_around_the_parts() -> None:
    body, _ = multipart(b"abc", boundary="a b")
    assert read_parts(body + b"epilogue", b'multipart/form-data; boundary="a b"', 1) == [b"abc"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--x1y2--\r\n", b"multipart/form-data"),
        (b"--x1y2--\r\n", b"multipart/form-data; boundary="),
        (b"--x1y2--\r\n", b"multipart/form-data; boundary=" + b"x" * 1000),
        (b"", b"multipart/form-data; boundary=x1y2"),
        (b"--x1y2--\r\n", b"multipart/form-data; boundary=x1y2"),
        (b"nothing of the kind", b"multipart/form-data; boundary=x1y2"),
        (
            b"--x1y2\r\n" + b"A: " + b"x" * 100_000 + b"\r\n\r\nx\r\n--x1y2--",
            b"multipart/form-data; boundary=x1y2",
        ),
        (b"--x1y2\r\n" + b"A: x\r\n" * 1000 + b"\r\nx\r\n--x1y2--", b"multipart/form-data; boundary=x1y2"),
        (b"--x1y2\r\n\xff: x\r\n\r\nx\r\n--x1y2--", b"multipart/form-data; boundary=x1y2"),
    ],
)
def test_what_is_no_multipart_is_refused(body: bytes, content_type: bytes) -> None:
    with pytest.raises(ServeError) as caught:
        read_parts(body, content_type, 9)
    assert caught.value.kind is Kind.INVALID


def test_a_body_that_breaks_off_is_refused_wherever_it_does() -> None:
    body, headers = multipart(b"abc", b"def")
    end = body.rindex(b"--")
    for length in range(end):
        with pytest.raises(ServeError):
            read_parts(body[:length], header(headers), 9)


def test_more_parts_than_allowed_are_refused() -> None:
    body, headers = multipart(*[b"x"] * 4)
    assert len(read_parts(body, header(headers), 4)) == 4
    with pytest.raises(ServeError) as caught:
        read_parts(body, header(headers), 3)
    assert caught.value.kind is Kind.TOO_LARGE
