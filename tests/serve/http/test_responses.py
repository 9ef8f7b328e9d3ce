"""The table of statuses, and what a failure looks like."""

from __future__ import annotations

import json

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.responses import STATUS, RefusalError, failure, raw_error, refusal
from tests.serve.http.servers import parse


def test_every_kind_of_failure_has_its_status() -> None:
    assert {kind.name: int(status) for kind, status in STATUS.items()} == {
        "INVALID": 400,
        "NOT_FOUND": 404,
        "TOO_LARGE": 413,
        "FULL": 503,
        "LATE": 504,
        "DRAINING": 503,
        "CANCELLED": 499,
        "FAILED": 500,
        "UNAUTHENTICATED": 401,
        "UNSUPPORTED": 501,
    }
    assert STATUS.keys() == set(Kind)


def test_a_failure_says_when_to_come_back_in_whole_seconds() -> None:
    response = failure(ServeError(Kind.FULL, "full", retry_after=0.2))
    assert (response.status, response.headers, response.kind) == (503, ((b"retry-after", b"1"),), "full")
    assert failure(ServeError(Kind.DRAINING, "ends", retry_after=2.5)).headers == ((b"retry-after", b"3"),)
    assert failure(ServeError(Kind.INVALID, "é")).headers == ()
    assert json.loads(failure(ServeError(Kind.INVALID, "é")).body) == {"error": "é"}


def test_a_refusal_of_http_has_a_kind_for_the_metrics() -> None:
    response = refusal(RefusalError(413, "too large", ((b"a", b"b"),)))
    assert (response.status, response.headers) == (413, ((b"a", b"b"),))
    assert response.kind == "too_large"
    assert refusal(RefusalError(404, "nothing")).kind == "not_found"
    assert refusal(RefusalError(405, "no")).kind == "method_not_allowed"


def test_an_answer_to_what_is_no_request_is_whole() -> None:
    reply = parse(raw_error(408, "slow", [(b"server", b"a")]))
    assert (reply.status, reply.error, reply.headers["server"]) == (408, "slow", "a")
    assert reply.headers["connection"] == "close"
