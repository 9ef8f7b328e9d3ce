"""The access log."""

from __future__ import annotations

import io
import json
import threading

import pytest

from ghostclas.serve import access_log
from ghostclas.serve.access_log import AccessLog, Record, line_of
from tests.serve.served import SECONDS

RECORD = Record("http", "POST /predict", "200", 0.01234, request_id="abc", model="pets", images=2)


def test_a_line_is_one_json_object_without_what_is_empty() -> None:
    line = line_of(0.0, RECORD)
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "protocol": "http",
        "method": "POST /predict",
        "status": "200",
        "ms": 12.34,
        "request_id": "abc",
        "model": "pets",
        "images": 2,
    }


def test_no_client_writes_a_line_of_its_own_or_a_long_one() -> None:
    line = line_of(0.0, Record("http", "GET /\r\n\x1b[31m" + "a" * 1000, "404", 0.0, peer="é" * 1000))
    assert line.count("\n") == 1
    assert line.isascii()
    assert "\x1b" not in line
    assert len(line) < 2000


def test_closing_writes_every_record_in_order() -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    for number in range(1000):
        log.write(Record("grpc", "m", str(number), 0.0))
    log.close(SECONDS)
    assert [json.loads(line)["status"] for line in stream.getvalue().splitlines()] == [
        str(number) for number in range(1000)
    ]
    assert log.dropped == 0


def test_a_stream_that_nobody_reads_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "_MOST", 10)
    writing, may_go_on = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str, /) -> int:
            writing.set()
            assert may_go_on.wait(SECONDS)
            return super().write(text)

    stream = Stuck()
    log = AccessLog(stream)
    log.write(RECORD)
    assert writing.wait(SECONDS)
    for _ in range(30):
        log.write(RECORD)
    assert log.dropped == 20
    may_go_on.set()
    log.close(SECONDS)
    assert len(stream.getvalue().splitlines()) == 11


def test_a_reader_that_is_gone_ends_no_server() -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    log = AccessLog(Gone())
    log.write(RECORD)
    log.close(SECONDS)
    assert log.dropped == 1
