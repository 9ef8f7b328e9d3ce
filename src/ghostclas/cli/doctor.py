"""``ghostclas doctor``: what is installed here, and what is missing for what."""

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
    """Show the machine, the packages that are installed and the runtimes that can be used."""
    report = _report()
    if as_json:
        say_json(report)
        return
    say(
        table(
            ("", ""),
            [(key, str(report[key])) for key in ("ghostclas", "python", "platform", "cores", "cache")],
        )
    )
    say(f"\nengines: {', '.join(report['engines']) or 'none'}")
    missing = [extra for extra, packages in report["extras"].items() if None in packages.values()]
    for extra, packages in report["extras"].items():
        say(f"\n{extra or 'base'}{': incomplete' if extra in missing else ''}")
        say(table(("", "", ""), [("", name, found or "not installed") for name, found in packages.items()]))
    for extra in missing:
        print_next("pip", "install", f"ghostclas[{extra}]", why=f"to complete {extra}")
    if not missing:
        print_next("ghostclas", "predict", "--demo")


def _report() -> dict[str, Any]:
    from ghostclas import __version__
    from ghostclas.download import cache_directory
    from ghostclas.engines.base import installed_engines

    return {
        "ghostclas": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "cache": str(cache_directory()),
        "engines": installed_engines(),
        "extras": {
            extra: {name: _version(name) for name in names} for extra, names in _requirements().items()
        },
    }


def _requirements() -> dict[str, list[str]]:
    """Return the packages of the base install (key ``""``) and of each extra, as the package itself says."""
    groups: dict[str, list[str]] = {"": []}
    for requirement in distribution("ghostclas").requires or []:
        extra = _EXTRA.search(requirement)
        name = _NAME.match(requirement)
        if name and name[0] != "ghostclas":
            groups.setdefault(extra[1] if extra else "", []).append(name[0])
    return {extra: sorted(names) for extra, names in groups.items() if extra != "dev"}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
