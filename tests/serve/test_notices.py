"""What the server tells the people who run it."""

from __future__ import annotations

import pytest

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.notices import FailureReport, notice


def failure(text: str) -> ServeError:
    error = ServeError(Kind.FAILED, "the network could not be run")
    error.__cause__ = RuntimeError(text)
    return error


def test_a_notice_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    notice("a\x1b[31mb")
    captured = capsys.readouterr()
    assert "\x1b" not in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_failures_are_shown_with_their_cause_and_no_faster_than_one_can_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("ghostclas.serve.notices.time.monotonic", lambda: now[0])
    report = FailureReport()
    for text in ("one", "two", "three"):
        report(failure(text))
    now[0] += 1.5
    report(failure("four"))
    shown = capsys.readouterr().err
    assert "RuntimeError: one" in shown
    assert "two" not in shown
    assert "RuntimeError: four\n       (and 2 others since the last such message)" in shown
