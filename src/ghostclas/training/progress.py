"""What a person sees while a run goes on: one live line per epoch on stderr, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

REFRESH_SECONDS = 0.2
PLAIN_SECONDS = 60.0


class Progress:
    """Prints the state of a run to ``stream``; a silent one when ``enabled`` is false."""

    def __init__(self, *, enabled: bool = True, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.enabled = enabled
        self.live = enabled and self.stream.isatty()
        self._shown = 0.0 if self.live else time.monotonic()
        self._width = 0

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self.enabled:
            self._clear()
            print(text, file=self.stream, flush=True)

    def step(self, text: str) -> None:
        """Show ``text`` on the live line; where there is no terminal, as a line of its own now and then."""
        now = time.monotonic()
        if not self.live:
            if now - self._shown >= PLAIN_SECONDS:
                self._shown = now
                self.say(text)
        elif now - self._shown >= REFRESH_SECONDS:
            self._shown = now
            self._clear()
            self.stream.write(text)
            self.stream.flush()
            self._width = len(text)

    def _clear(self) -> None:
        if self.live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0


def step_line(
    epoch: int,
    epochs: float,
    done: float,
    *,
    loss: float,
    top1: float | None,
    rate: float,
    waiting: float,
    left: float,
) -> str:
    """Return the live line: ``done`` is a fraction of the epoch, ``rate`` in img/s, ``left`` in seconds.

    ``top1`` is that of the last validation, if there was one.
    """
    accuracy = f"top-1 {top1:.2f}  " if top1 is not None else ""
    filled = round(done * 20)
    bar = "━" * filled + "╌" * (20 - filled)
    return (
        f"epoch {epoch}/{epochs:g} {bar} {done:4.0%}  loss {loss:.3f}  {accuracy}{rate:.0f} img/s  "
        f"data {waiting:.0%}  {duration(left)} left"
    )


def epoch_line(entry: dict[str, Any], epochs: float, *, left: float) -> str:
    """Return the line that stays of a finished epoch."""
    accuracy = f"top-1 {entry['top1']:.2f}" if entry.get("top1") is not None else "not validated"
    best = " *" if entry.get("best") else ""
    return (
        f"epoch {entry['epoch']}/{epochs:g}  loss {entry['loss']:.3f}  {accuracy}{best}  "
        f"{entry['images_per_second']:.0f} img/s  data {entry['data_wait']:.0%}  lr {entry['lr']:.2g}  "
        f"{duration(entry['seconds'])}, {duration(left)} left"
    )


def duration(seconds: float) -> str:
    """Return ``seconds`` as people write it: 42s, 3m 05s, 2h 10m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
