"""Output of the verbs: results to stdout, everything else to stderr. Imports only typer.

No control character reaches a terminal, whoever chose the names in the text: see ``ghostclas.terminal``. A
verb applies ``printable`` to names in a result of several lines; ``table`` does it by itself.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, TypeVar

import typer

from ghostclas.errors import UsageError, command_line
from ghostclas.terminal import printable, printable_json, printable_lines, printable_message
from ghostclas.volume import Volume, volume

T = TypeVar("T")
NAMED = 5
"""Of so many files a line each says what is wrong with them."""


def say(text: str = "") -> None:
    """Write one or more lines of the result to stdout."""
    _echo(printable_lines(text))


def say_styled(text: str) -> None:
    """Write lines with codes of a terminal to stdout; their names are ``printable`` already."""
    _echo(text)


def fancy() -> bool:
    """Return whether stdout is a terminal of someone who has not asked for plain text by ``NO_COLOR``."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bar(fraction: float, width: int = 20) -> str:
    """Return a bar of ``width`` cells, filled from the left up to ``fraction``."""
    filled = round(fraction * width)
    cells = ("\u2588", "\u2591") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", ".")
    return cells[0] * filled + cells[1] * (width - filled)


def say_json_text(text: str) -> None:
    """Write a JSON document to stdout; text stays readable in every script."""
    _echo(printable_json(text))


def _echo(text: str) -> None:
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        raise UsageError(f"cannot write to stdout: {error.strerror}") from None


def discard_stdout() -> None:
    """Discard what stdout still buffers: Python flushes it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Write one message about the work to stderr, unless --quiet was given."""
    if volume() is not Volume.QUIET:
        warn(text)


def warn(text: str) -> None:
    """Write one message to stderr at every volume: what failed, or a figure that must not be trusted."""
    typer.echo(printable_message(text), err=True)


def warn_of_first(lines: Sequence[str]) -> None:
    """Warn of the first ``NAMED`` of the lines, and say how many more there are."""
    for line in lines[:NAMED]:
        warn(line)
    if len(lines) > NAMED:
        warn(f"and {len(lines) - NAMED:,} more")


def note_traceback(error: BaseException) -> None:
    """Write the traceback of an error to stderr, of whose message only the first line is at the margin."""
    parts = [part.strip("\n") for part in traceback.format_exception(error)]
    lines = (printable_lines(part) if part.startswith("  ") else printable_message(part) for part in parts)
    typer.echo("\n".join(lines), err=True)


def renamed(value: T | None, old: T | None, *, to: str, was: str) -> T | None:
    """Return the value of a renamed option, under its new or its old name; a note names the new one.

    Raises:
        UsageError: both names were given.
    """
    if old is None:
        return value
    if value is not None:
        raise UsageError(f"{was} is the old name of {to}: give {to} only")
    note(f"note: {was} is now called {to}; the old name goes away in the next release")
    return old


def say_json(value: Any) -> None:
    """Write ``value`` as one line of JSON to stdout; text stays readable in every script."""
    say_json_text(json.dumps(value, ensure_ascii=False))


def print_next(*command: str, why: str = "next") -> None:
    """Print on stderr the next useful command; ``command`` is its words, quoted here where needed."""
    note(f"{why}: {command_line(*command)}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return the rows under their header in aligned columns; ``right`` lists the number columns."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join(map(line, cells))
