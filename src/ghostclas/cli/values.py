"""What a shell may complete behind an option: the names in the tables of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer


def add_values(command: Any) -> None:
    """Let a command, and the verbs below it, complete the values of their options.

    Args:
        command: from ``typer.main.get_command``.
    """
    # Typer builds the options of a function of its own, which is never called.
    app = typer.Typer(add_completion=False)

    @app.command()
    def carrier(
        engine: str = typer.Option("", autocompletion=_listed(_engines)),
        formats: str = typer.Option("", autocompletion=_listed(_formats)),
        network: str = typer.Option("", autocompletion=_listed(_networks)),
        recipe: str = typer.Option("", autocompletion=_listed(_recipes)),
    ) -> None: ...

    _add(command, {option.name: option.shell_complete for option in typer.main.get_command(app).params})


def _add(command: Any, completers: dict[str, Any]) -> None:
    for option in command.params:
        if option.name in completers:
            option.shell_complete = completers[option.name]
    for verb in getattr(command, "commands", {}).values():
        _add(verb, completers)


def _listed(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return a completer of the last of several values that commas separate."""

    def complete(incomplete: str) -> list[str]:
        before = incomplete[: incomplete.rfind(",") + 1]
        return [before + name for name in names() if (before + name).startswith(incomplete)]

    return complete


def _engines() -> Iterable[str]:
    from ghostclas.engines.table import installed_engines

    return ("auto", *installed_engines())


def _formats() -> Iterable[str]:
    from ghostclas.exporting.formats import FORMATS

    return FORMATS


def _networks() -> Iterable[str]:
    from ghostclas.api import list_models

    return list_models()


def _recipes() -> Iterable[str]:
    from ghostclas.training.recipes import recipe_names

    return recipe_names()
