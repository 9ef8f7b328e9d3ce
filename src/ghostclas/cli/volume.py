"""``--quiet`` and ``--verbose``, which every verb takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from ghostclas.errors import UsageError
from ghostclas.volume import Volume, volume

QUIET, VERBOSE = ("--quiet", "-q"), ("--verbose", "-v")
_OPTIONS = frozenset((*QUIET, *VERBOSE))


def add_volume(command: Any, change: Callable[[Volume], None]) -> None:
    """Give a command, and the verbs below it, the two options.

    Args:
        command: from ``typer.main.get_command``.
        change: called with the volume that was asked for, before the verb runs.
    """

    def set_to(wanted: Volume) -> Callable[[bool], None]:
        def on(given: bool) -> None:
            if not given:
                return
            if volume() not in (Volume.NORMAL, wanted):
                raise UsageError("give one of --quiet and --verbose")
            change(wanted)

        return on

    # Typer builds the options of a function of its own, which is never called.
    app = typer.Typer(add_completion=False)

    @app.command()
    def carrier(
        # Not as annotations, which would have to find ``set_to`` in the module.
        quiet: bool = typer.Option(
            False,
            *QUIET,
            callback=set_to(Volume.QUIET),
            is_eager=True,
            help="Say nothing but results and errors.",
        ),
        verbose: bool = typer.Option(
            False,
            *VERBOSE,
            callback=set_to(Volume.VERBOSE),
            is_eager=True,
            help="Say what was chosen and why, and where an error was raised.",
        ),
    ) -> None: ...

    options = [option for option in typer.main.get_command(app).params if option.name in ("quiet", "verbose")]
    for option in options:
        option.expose_value = False
    _add(command, options)


def _add(command: Any, options: Sequence[Any]) -> None:
    command.params = [*command.params, *options]
    for verb in getattr(command, "commands", {}).values():
        _add(verb, options)


def behind_the_verb(args: Sequence[str]) -> list[str]:
    """Return the arguments with ``--quiet`` and ``--verbose`` of the front moved behind the verb."""
    count = next((place for place, arg in enumerate(args) if arg not in _OPTIONS), len(args))
    front, rest = list(args[:count]), list(args[count:])
    return [*rest[:1], *front, *rest[1:]] if rest else ["--help"]
