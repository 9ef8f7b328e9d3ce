"""The log of a training run, ``log.jsonl``: one object an epoch, and what follows from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostclas.evaluation.metrics import wilson_interval
from ghostclas.files import read_regular
from ghostclas.pages.charts import Line

Entry = Mapping[str, Any]

MAX_LOG_BYTES = 64 << 20


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of a log; none if there is no log. A line cut off by a kill ends it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        lines = read_regular(path, MAX_LOG_BYTES).splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
            entry["epoch"] + 0
        except (ValueError, RecursionError, KeyError, TypeError):
            break
        entries.append(entry)
    return entries


def column(entries: Sequence[Entry], key: str) -> list[tuple[float, float]]:
    """Return ``(epoch, value)`` of the epochs that have a number under ``key``."""
    return [
        (float(entry["epoch"]), float(entry[key]))
        for entry in entries
        if isinstance(entry.get(key), int | float) and not isinstance(entry[key], bool)
    ]


def top1_line(name: str, entries: Sequence[Entry], val_images: int | None = None) -> Line:
    """Return top-1 over the epochs, with its 95 % interval where the number of images is known."""
    points = column(entries, "top1")
    if not val_images:
        return Line(name, points)
    bounds = [interval(value, val_images) for _, value in points]
    return Line(name, points, [low for low, _ in bounds], [high for _, high in bounds])


def interval(top1: float, images: int) -> tuple[float, float]:
    """Return the 95 % interval of a top-1 in percent that was measured on so many images, in percent."""
    right = min(max(round(top1 / 100 * images), 0), images)
    return wilson_interval(right, images)


def best_entry(entries: Sequence[Entry]) -> Entry | None:
    """Return the epoch whose weights a run keeps: the one that its log marks last, else the best top-1."""
    marked = [entry for entry in entries if entry.get("best") is True and "top1" in entry]
    validated = [entry for entry in entries if isinstance(entry.get("top1"), int | float)]
    return marked[-1] if marked else max(validated, key=lambda entry: float(entry["top1"]), default=None)


def spent(entries: Sequence[Entry]) -> float:
    """Return the seconds of all epochs of a log, validation not counted."""
    return sum(value for _, value in column(entries, "seconds"))
