"""What ``ghostclas predict`` prints of its answers: lines on stdout, or a count and the errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ghostclas.cli.console import bar, fancy, say_json_text, say_styled, warn_of_first
from ghostclas.progress import console_progress
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.spec import Prediction


class Showing:
    """Prints each answer; where the answers go into files, a count and the photos that have no label."""

    def __init__(self, *, as_json: bool, to_files: bool) -> None:
        self._as_json = as_json
        self._to_files = to_files
        self._fancy = fancy()
        self._unseen: list[str] = []
        self._progress = None if sys.stdout.isatty() and not to_files else console_progress("photos")
        self.total: Sequence[int] = ()
        """The number of photos, once it is known."""

    @property
    def counts(self) -> bool:
        """Whether a count is shown."""
        return self._progress is not None

    def answer(self, prediction: Prediction, done: int) -> None:
        """Show the answer that is number ``done``, from 1."""
        if self._as_json:
            say_json_text(prediction.model_dump_json())
        elif not self._to_files:
            say_styled(answer_text(prediction, fancy=self._fancy))
        elif prediction.error:
            file, message = prediction.file or "-", prediction.error.message
            self._unseen.append(message if message.startswith(file) else f"{file}: {message}")
        if self._progress:
            # A count below the number done is no total: photos were added since.
            self._progress(done, self.total[0] if self.total and self.total[0] > done else None)

    def end(self, done: int) -> None:
        """Show that there are no more than ``done`` photos, and the first errors that are printed nowhere."""
        if self._progress:
            self._progress(done, done)
        warn_of_first(self._unseen)


def answer_text(prediction: Prediction, *, fancy: bool) -> str:
    """Return the labels of a photo, or its error, in lines; with bars for a terminal."""
    lines = [printable(prediction.file or "-")]
    if prediction.error:
        lines.append(f"  error: {printable(prediction.error.message)}")
    if prediction.unknown:
        lines.append("  unknown; the nearest are")
    for rank, label in enumerate(prediction.top):
        name = printable(label.label)
        if fancy:
            name = f"{bar(label.score)}  {name if rank else typer.style(name, bold=True)}"
        lines.append(f"  {label.score:7.2%}  {name}")
    return "\n".join(lines)
