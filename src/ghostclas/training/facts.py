"""Where a run was computed and by what, for its report. Needs no torch."""

from __future__ import annotations

import platform
from importlib import metadata

import ghostclas
from ghostclas.processor import this_processor, usable_cores
from ghostclas.terminal import counted


def hardware(device: str = "cpu") -> str:
    """Return the processor and its usable cores, behind the name of another ``device`` that computed."""
    where = f"{this_processor().model}, {counted(usable_cores(), 'core')}"
    return where if device == "cpu" else f"{device}; {where}"


def versions(*packages: str) -> str:
    """Return the versions of ghostclas, of ``packages`` and of Python."""
    others = "".join(f"{package} {_version(package)}, " for package in packages)
    return f"ghostclas {ghostclas.__version__}, {others}Python {platform.python_version()}"


def images(learned_from: int, validated: int, bad: int) -> str:
    """Return the numbers of images of a run."""
    unreadable = f", {bad:,} unreadable" if bad else ""
    return f"{learned_from:,} to learn from, {validated:,} to validate{unreadable}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
