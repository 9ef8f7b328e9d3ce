"""Progress on stderr, on a clock that the test advances."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from ghostclas import progress
from ghostclas.bundle import Bundle
from tests.training.photos import photo_folder


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "left"), [(40, "40s left"), (600, "10m 00s left"), (3600 * 3 + 60 * 7, "3h 07m left")]
)
def test_a_log_gets_plain_lines_with_speed_and_time_left(
    seconds: int, left: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    show = progress.console_progress()
    clock.now += seconds
    show(1000, 2000)
    clock.now += seconds
    show(2000, 2000)
    rate = progress.per_second(1000 / seconds)
    assert capsys.readouterr().err.splitlines() == [
        f"1,000 of 2,000 images, {rate}, {left}",
        f"2,000 of 2,000 images, {rate}",
    ]


def test_work_that_is_soon_over_shows_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    show = progress.console_progress()
    for done in (1, 2, 3):
        clock.now += 0.2
        show(done, 3)
    assert capsys.readouterr().err == ""


def test_lines_in_a_log_are_seconds_apart(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    show = progress.console_progress("photos")
    for done in range(1, 101):
        clock.now += 1
        show(done, None)
    assert len(capsys.readouterr().err.splitlines()) == 10


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_rewritten(clock: Clock) -> None:
    stream = Terminal()
    line = progress.ProgressLine(stream=stream)
    assert line.step("a long state")
    assert not line.step("too soon")
    clock.now += 1
    assert line.step("short")
    line.say("done")
    assert stream.getvalue() == (
        "a long state" + "\r" + " " * 12 + "\r" + "short" + "\r" + " " * 5 + "\r" + "done\n"
    )


def test_a_silent_line_shows_nothing(clock: Clock) -> None:
    stream = Terminal()
    line = progress.ProgressLine(stream=stream, enabled=False)
    assert not line.step("state")
    line.say("done")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (0.04, "0.04"),
        (0.996, "1.0"),
        (2.44, "2.4"),
        (9.94, "9.9"),
        (9.96, "10"),
        (310.4, "310"),
        (12345, "12,345"),
    ],
)
def test_a_slow_rate_has_decimals(rate: float, shown: str) -> None:
    assert progress.per_second(rate) == f"{shown} a second"


def test_a_phase_is_shown_at_once_on_a_terminal_and_seldom_in_a_log(clock: Clock) -> None:
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        line = progress.ProgressLine(stream=stream)
        line.phase("one")
        line.phase("two")
        line.clear()
    assert terminal.getvalue() == "one\r   \rtwo\r   \r"
    assert log.getvalue() == ""


NOTEBOOK = """
from ghostclas.progress import ProgressLine, is_shown
for quiet in (None, True):
    line = ProgressLine(enabled=is_shown(quiet))
    line.step("a state that is rewritten")
    line.say(f"a line that stays, quiet={quiet}")
"""
TRAINING = """
from ghostclas import train_head
for quiet in (None, True):
    train_head(PHOTOS, weights=WEIGHTS, output=f"{PHOTOS}-{quiet}", quiet=quiet)
"""


def test_a_notebook_shows_progress_unless_told_not_to(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    names = f"PHOTOS, WEIGHTS = {str(folder)!r}, {str(small_bundle.path)!r}"
    pytest.importorskip("ipykernel")
    manager, client = pytest.importorskip("jupyter_client.manager").start_new_kernel()
    try:
        shown: list[str] = []

        def collect(message: dict[str, Any]) -> None:
            if message["msg_type"] == "error":
                shown.extend(message["content"]["traceback"])
            if message["msg_type"] == "stream":
                assert message["content"]["name"] == "stderr"
                shown.append(message["content"]["text"])

        client.execute_interactive(NOTEBOOK, timeout=120, output_hook=collect)
        lines, shown = "".join(shown), []
        client.execute_interactive(names + TRAINING, timeout=120, output_hook=collect)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    state = "a state that is rewritten"
    assert lines == f"{state}\r{' ' * len(state)}\ra line that stays, quiet=None\n"
    trained = "".join(shown)
    assert all((tmp_path / f"photos-{quiet}" / "bundle").is_dir() for quiet in (None, True))
    assert trained.count("36 photos, 3 classes") == trained.count("logistic regression: L2 penalty") == 1


def test_a_program_shows_no_progress_unless_told_to() -> None:
    assert not progress.in_notebook()
    assert [progress.is_shown(quiet) for quiet in (None, True, False)] == [False, False, True]
