"""Where a run is, if nobody says: ``runs/<data>-<network>``. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from ghostclas.zoo import TIMM

RUNS = Path("runs")


def run_name(data: str | Path, network: str, suffix: str = "") -> str:
    """Return the name of a run of ``network`` on the images at ``data``."""
    return f"{Path(data).resolve().stem}-{network.removeprefix(TIMM)}{suffix}"


def unused_run(name: str, root: Path = RUNS) -> Path:
    """Return ``root/name``, or ``name-2``, ``name-3`` and so on where there is something already."""
    path, number = root / name, 2
    while path.exists():
        path, number = root / f"{name}-{number}", number + 1
    return path
