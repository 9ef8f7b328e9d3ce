"""Failures of requests."""

from __future__ import annotations

from ghostclas.errors import GhostclasError
from ghostclas.serve.failures import Kind, ServeError


def test_a_failure_is_no_mistake_of_whoever_runs_the_server() -> None:
    failure = ServeError(Kind.FULL, "too many wait", retry_after=2.0)
    assert not isinstance(failure, GhostclasError)
    assert (str(failure), failure.kind, failure.retry_after) == ("too many wait", Kind.FULL, 2.0)


def test_each_kind_has_a_name_of_its_own() -> None:
    assert len({kind.value for kind in Kind}) == len(Kind) == 10
