"""The progress line on stderr: rewritten in place on a terminal, a plain line at intervals in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from ghostclas.terminal import printable, printable_lines
from ghostclas.volume import Volume, volume

Progress = Callable[[int, int | None], None]
"""Called with the number done and the total (``None``: not known)."""

REFRESH_SECONDS = 0.2
PLAIN_SECONDS = 60.0
_COUNT_PLAIN_SECONDS = 10.0
_FIRST_SECONDS = 1.0


class ProgressLine:
    """Shows the state of some work on ``stream``, stderr when absent.

    It shows nothing when ``enabled`` is false, or after ``--quiet``. Without a terminal or a notebook, a
    state becomes a line of its own every ``plain_seconds``.
    """

    def __init__(
        self, *, enabled: bool = True, stream: TextIO | None = None, plain_seconds: float = PLAIN_SECONDS
    ) -> None:
        self.stream = stream or sys.stderr
        self.enabled = enabled and volume() is not Volume.QUIET
        self.live = self.enabled and (self.stream.isatty() or in_notebook())
        self._interval = REFRESH_SECONDS if self.live else plain_seconds
        self._shown = 0.0 if self.live else time.monotonic()
        self._width = 0

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self.enabled:
            self.clear()
            print(printable_lines(text), file=self.stream, flush=True)

    def step(self, text: str) -> bool:
        """Show ``text`` if a line is due, and return whether it was."""
        now = time.monotonic()
        if not self.enabled or now - self._shown < self._interval:
            return False
        self._shown = now
        if not self.live:
            self.say(text)
            return True
        self.clear()
        text = printable(text)
        self.stream.write(text)
        self.stream.flush()
        self._width = len(text)
        return True

    def phase(self, text: str) -> None:
        """Show ``text`` as what is being done now: at once on a terminal, else as :meth:`step` does."""
        if self.live:
            self._shown = 0.0
        self.step(text)

    def clear(self) -> None:
        """Remove the line from the terminal, before a result is printed there."""
        if self.live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()
            self._width = 0


def in_notebook() -> bool:
    """Return whether the kernel of a notebook runs this process."""
    # Whoever is in one has imported it.
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and getattr(ask(), "kernel", None) is not None


def is_shown(quiet: bool | None) -> bool:
    """Return whether a function of the package shows its progress.

    Args:
        quiet: what its caller asked for; when ``None``, progress is shown in a notebook and nowhere else.
    """
    return in_notebook() if quiet is None else not quiet


def console_progress(noun: str = "images") -> Progress:
    """Return a callback that shows the number done, the rate, and the time left.

    Work that ends before its first line is due shows nothing.
    """
    line = ProgressLine(plain_seconds=_COUNT_PLAIN_SECONDS)
    start = time.monotonic()
    shown = False

    def show(done: int, total: int | None) -> None:
        nonlocal shown
        seconds = time.monotonic() - start
        count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        rate = done / max(seconds, 1e-9)
        text = f"{count} {noun}, {per_second(rate)}"
        if total is not None and 0 < done < total:
            text += f", {duration((total - done) / rate)} left"
        if done == total and shown:
            line.say(text)
        elif seconds >= _FIRST_SECONDS:
            shown = line.step(text) or shown

    return show


def rounded_rate(rate: float) -> str:
    """Return a rate with a decimal below ten, and with two below one: ``310``, ``2.4``, ``0.05``."""
    # 9.96 would read as 10.0, and 0.996 as 1.00.
    return f"{rate:,.{2 if rate < 0.995 else 1 if rate < 9.95 else 0}f}"


def per_second(rate: float) -> str:
    """Return a rate in readable form: ``310 a second``, ``2.4 a second``."""
    return f"{rounded_rate(rate)} a second"


def duration(seconds: float) -> str:
    """Return ``seconds`` in readable form: 42s, 3m 05s, 2h 10m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
