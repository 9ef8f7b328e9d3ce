"""The timed numbers of threads and batch sizes."""

from __future__ import annotations

from ghostclas.bench.latency import settings_of
from tests.bench.tiny import TINY


def test_engines_whose_threads_are_not_theirs_are_timed_once() -> None:
    assert list(settings_of("torch", TINY, 2)) == [(2, 1), (2, 2)]
    assert list(settings_of("onnxruntime", TINY, 2)) == [(1, 1), (2, 1), (2, 2)]
