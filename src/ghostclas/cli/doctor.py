"""``ghostclas doctor``: the machine, the installed packages, and the extras that lack some."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
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
    machine, packages = report["machine"], report["packages"]
    cores, all_cores = machine["cores"], machine["all_cores"]
    facts = [
        ("processor", machine["cpu"]),
        ("features", " ".join(machine["instructions"]) or "unknown"),
        ("cores", f"{cores}" if cores == all_cores else f"{cores} of {all_cores}"),
        ("memory", f"{machine['memory'] / 2**30:.1f} GiB" if machine["memory"] else "unknown"),
        *((name, str(report[name])) for name in ("ghostclas", "python", "platform", "cache")),
        ("engines", ", ".join(report["engines"]) or "none"),
    ]
    say(table(("here", ""), facts))
    lacking = {
        extra: [name for name, version in versions.items() if version is None]
        for extra, versions in packages.items()
    }
    say("\n" + table(("package", "version"), _installed(packages)))
    complete = [extra for extra, missing in lacking.items() if not missing]
    say(f"\ncomplete: {', '.join(complete)}")
    if rows := [(extra, ", ".join(missing)) for extra, missing in lacking.items() if missing]:
        say("\n" + table(("extra", "lacks"), rows))
        print_next("pip", "install", "ghostclas[EXTRA]", why="to complete an extra")
    else:
        print_next("ghostclas", "predict", "--demo")


def _installed(packages: Mapping[str, Mapping[str, str | None]]) -> list[tuple[str, str]]:
    """Return every package that is here once, by name, however many extras want it."""
    found = {name: version for versions in packages.values() for name, version in versions.items() if version}
    return sorted(found.items(), key=lambda row: row[0].lower())


def _report() -> dict[str, Any]:
    from ghostclas import __version__
    from ghostclas.bench.machine import describe_machine
    from ghostclas.cache import cache_directory
    from ghostclas.engines import installed_engines

    machine = describe_machine().model_dump(mode="json")
    return {
        "machine": {name: machine[name] for name in ("cpu", "instructions", "cores", "all_cores", "memory")},
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
