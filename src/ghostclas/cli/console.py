"""Output of the verbs: results to stdout, everything else to stderr. Imports only typer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import typer

from ghostclas.errors import UsageError, command_line

T = TypeVar("T")


def say(text: str = "") -> None:
    """Write one line of the result to stdout."""
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
    """Write one line about the work to stderr."""
    typer.echo(text, err=True)


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
    say(json.dumps(value, ensure_ascii=False))


def print_next(*command: str, why: str = "next") -> None:
    """Print on stderr the next useful command; ``command`` is its words, quoted here where needed."""
    note(f"{why}: {command_line(*command)}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return the rows under their header in aligned columns; ``right`` lists the number columns."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in (header, *rows))
