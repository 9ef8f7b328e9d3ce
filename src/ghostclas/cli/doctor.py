"""``ghostclas doctor``: the installed packages, and the missing ones of each extra."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Annotated, Any

import typer

from ghostclas.cli.console import print_next, say, say_json, table

_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show the machine, the packages and the runtimes here."""
    report = _report()
    if as_json:
        say_json(report)
        return
    packages = report.pop("packages")
    engines = ", ".join(report.pop("engines")) or "none"
    say(table(("here", ""), [*((key, str(value)) for key, value in report.items()), ("engines", engines)]))
    for extra, versions in packages.items():
        rows = [(name, version or "not installed") for name, version in versions.items()]
        say("\n" + table((extra, ""), rows))
    missing = [extra for extra, versions in packages.items() if None in versions.values()]
    for extra in missing:
        print_next("pip", "install", f"ghostclas[{extra}]", why=f"to complete {extra}")
    if not missing:
        print_next("ghostclas", "predict", "--demo")


def _report() -> dict[str, Any]:
    from ghostclas import __version__
    from ghostclas.cache import cache_directory
    from ghostclas.engines import installed_engines

    return {
        "ghostclas": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "cache": str(cache_directory()),
        "engines": installed_engines(),
        "packages": {group: {name: _version(name) for name in names} for group, names in _groups().items()},
    }


def _groups() -> dict[str, list[str]]:
    """Return the packages of the base install and of each extra, from the project's metadata."""
    groups: dict[str, list[str]] = {"base": []}
    for requirement in distribution("ghostclas").requires or []:
        extra = _EXTRA.search(requirement)
        name = _NAME.match(requirement)
        if name and name[0] != "ghostclas":
            groups.setdefault(extra[1] if extra else "base", []).append(name[0])
    return {group: sorted(names) for group, names in groups.items() if group != "dev"}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
