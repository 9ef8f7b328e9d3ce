"""Progress on stderr, on a clock that the test moves."""

from __future__ import annotations

import pytest

from ghostclas.cli import console


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "left"), [(40, "40 s left"), (600, "10 min left"), (3600 * 3 + 60 * 7, "3 h 7 min left")]
)
def test_a_log_gets_plain_lines_with_speed_and_time_left(
    seconds: int, left: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    show = console.console_progress()
    clock.now += seconds
    show(1000, 2000)
    clock.now += seconds
    show(2000, 2000)
    rate = 1000 / seconds
    assert capsys.readouterr().err.splitlines() == [
        f"1,000 of 2,000 images, {rate:,.0f} a second, {left}",
        f"2,000 of 2,000 images, {rate:,.0f} a second",
    ]


def test_work_that_is_soon_over_shows_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    show = console.console_progress()
    for done in (1, 2, 3):
        clock.now += 0.2
        show(done, 3)
    assert capsys.readouterr().err == ""


def test_lines_in_a_log_are_seconds_apart(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    show = console.console_progress("photos")
    for done in range(1, 101):
        clock.now += 1
        show(done, None)
    assert len(capsys.readouterr().err.splitlines()) == 10
