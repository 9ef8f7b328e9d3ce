"""Request ids and trace contexts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ghostclas.serve.tracing import Trace, request_id

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_server_is_a_span_of_the_callers_trace() -> None:
    trace = Trace.following(GIVEN)
    assert (trace.trace_id, trace.parent, trace.sampled) == (GIVEN[3:35], GIVEN[36:52], True)
    assert trace.span_id not in (trace.parent, Trace.following(GIVEN).span_id)
    assert trace.header == f"00-{trace.trace_id}-{trace.span_id}-01"
    assert Trace.following(trace.header).parent == trace.span_id


def test_a_later_version_may_have_more_fields() -> None:
    assert Trace.following(f"01{GIVEN[2:]}-what-comes-later").trace_id == GIVEN[3:35]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        f"ff{GIVEN[2:]}",
        f"{GIVEN}-more",
        GIVEN.upper(),
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"{GIVEN}\n{GIVEN}",
        GIVEN[:-1],
    ],
)
def test_a_damaged_header_begins_a_new_trace(header: str | None) -> None:
    trace = Trace.following(header)
    assert (trace.parent, trace.sampled) == ("", False)
    assert trace.trace_id not in (GIVEN[3:35], "0" * 32)
    assert Trace.following(trace.header).trace_id == trace.trace_id


def test_a_callers_request_id_is_kept_if_it_fits_into_a_line() -> None:
    assert request_id("abc-123/x") == "abc-123/x"
    for given in (None, "", "a b", "a\nb", "é", "x" * 129):
        made = request_id(given)
        assert made != given
        assert len(made) == 16
        assert made != request_id(given)


def test_workers_make_other_ids_than_each_other() -> None:
    code = "from ghostclas.serve.tracing import request_id; print(request_id(None))"
    made = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in "ab"}
    assert len(made) == 2
