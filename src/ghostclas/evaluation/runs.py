"""Several training runs side by side: what their files say, as a table and as curves over each other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ghostclas.bundle.manifest import MANIFEST
from ghostclas.errors import UsageError
from ghostclas.evaluation.logs import best_entry, column, interval, read_log, spent, top1_line
from ghostclas.extras import require
from ghostclas.files import is_folder, is_there, read_regular
from ghostclas.pages import check_page, write_html
from ghostclas.pages.charts import COLOURS, Chart, Line, drawing

DEPTH = 3
"""Runs are looked for so many folders deep: the runs of a distillation are in a folder of their own."""

DRAWN = 2 * COLOURS
"""So many runs have curves of their own looks; the page draws those with the best top-1."""

_PAGE = Path(__file__).with_name("pages") / "runs.html.jinja"
_OWN = {"bundle", "checkpoints", "report"}
_MINUTES = 180
_MAX_SETTINGS = 1 << 20
_MAX_RECORD = 64 << 20


@dataclass(frozen=True)
class PastRun:
    """A run as its files tell it. What a file lacks, or an earlier version did not write, is ``None``."""

    name: str
    path: Path
    settings: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]
    train_images: int | None
    val_images: int | None
    finished: bool
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """that of its bundle; the accuracy of a last layer alone, which has no epochs, is there"""

    @cached_property
    def best(self) -> Mapping[str, Any] | None:
        """The epoch whose weights it keeps."""
        return best_entry(self.entries)

    @property
    def epochs(self) -> int:
        """How many epochs it finished; 0 for a last layer alone, ``train --fast``."""
        return sum(entry["epoch"] > 0 for entry in self.entries)

    @property
    def top1(self) -> float | None:
        """The best top-1 on its validation images, in percent."""
        return self._accuracy("top1")

    def _accuracy(self, name: str) -> float | None:
        measured = self.best or _at(self.manifest, "metrics", 0)
        value = _at(measured, name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of ``top1`` in percent."""
        if self.top1 is None or not self.val_images:
            return None
        return interval(self.top1, self.val_images)

    def setting(self, key: str) -> Any:
        """Return a setting by its dotted key, such as ``loop.batch_size``; ``None`` if there is none."""
        return _at(self.settings, *key.split("."))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, for JSON."""
        return {
            "name": self.name,
            "path": str(self.path),
            "network": self.setting("model.name") or _at(self.manifest, "spec", "name"),
            "epochs": self.epochs,
            "planned_epochs": self.setting("schedule.epochs"),
            "finished": self.finished,
            "top1": self.top1,
            "top1_interval": self.interval,
            "top5": self._accuracy("top5"),
            "best_epoch": self.best["epoch"] if self.best and self.epochs else None,
            "train_images": self.train_images,
            "val_images": self.val_images,
            "loss": next((value for _, value in reversed(column(self.entries, "loss"))), None),
            "seconds": spent(self.entries),
            "batch_size": self.setting("loop.batch_size"),
            "learning_rate": self.setting("optimizer.lr"),
            "optimizer": self.setting("optimizer.name"),
            "resolution": self.setting("data.resolution") or _at(self.manifest, "preprocess", "crop"),
        }


def read_runs(paths: Iterable[str | os.PathLike[str]]) -> list[PastRun]:
    """Return the runs in folders of runs, and runs that are named themselves, best top-1 first.

    A run that has not finished is among them, as far as it went; one without a finished epoch is not. A last
    layer alone, ``train --fast``, has no epochs; its accuracy and time are known.

    Raises:
        UsageError: there is no run, or no such folder.
        MissingExtraError: the settings are YAML, and its reader is not installed.
    """
    places = [Path(path) for path in paths]
    found: dict[Path, PastRun] = {}
    for place in places:
        if not is_folder(place):
            raise UsageError(f"there is no folder {place}; name a folder of runs, or a run")
        for path in _runs_below(place, DEPTH):
            run = read_run(path, path.name if path == place else path.relative_to(place).as_posix())
            if run.entries or run.finished:
                found.setdefault(path.resolve(), run)
    if not found:
        raise UsageError(f"there is no training run with a finished epoch in {', '.join(map(str, places))}")
    return sorted(found.values(), key=lambda run: (-1.0 if run.top1 is None else -run.top1 - 1, run.name))


def read_run(path: Path, name: str) -> PastRun:
    """Return the run in the folder ``path``, called ``name``. What cannot be read is left out."""
    try:
        entries = read_log(path / "log.jsonl")
    except OSError:
        entries = []
    record, manifest = _json(path / "data.json"), _json(path / "bundle" / MANIFEST)
    return PastRun(
        name=name,
        path=path,
        settings=_settings(path / "config.yaml"),
        entries=entries,
        # A last layer alone, and earlier versions, wrote no ``data.json``.
        train_images=_number(record, "train", "images") or _number(manifest, "provenance", "images"),
        val_images=_number(record, "val", "images") or _number(manifest, "metrics", 0, "images"),
        finished=is_there(path / "bundle" / MANIFEST),
        manifest=manifest if isinstance(manifest, Mapping) else {},
    )


def write_runs(runs: Sequence[PastRun], folder: Path) -> Path:
    """Write ``index.html`` with the table of the runs and their curves; it needs no other file.

    Returns:
        The path of the page.

    Raises:
        UsageError: the folder cannot be written, or has somebody else's page.
        MissingExtraError: jinja2 is not installed.
    """
    check_page(folder)
    curved = [run for run in runs if run.epochs]
    drawn = curved[:DRAWN]
    hours = max(spent(run.entries) for run in runs) / 60 > _MINUTES
    unit, name = (3600, "hours") if hours else (60, "minutes")
    charts = [
        Chart(
            "Top-1 on the validation images",
            "epoch",
            [top1_line(run.name, run.entries) for run in drawn],
            unit=" %",
            share=True,
        ),
        Chart(
            "Top-1 over the time of training",
            name,
            [_over_time(run, unit) for run in drawn],
            unit=" %",
            share=True,
        ),
        Chart("Training loss", "epoch", [Line(run.name, column(run.entries, "loss")) for run in drawn]),
    ]
    if any(column(run.entries, "val_loss") for run in drawn):
        lines = [Line(run.name, column(run.entries, "val_loss")) for run in drawn]
        charts.append(Chart("Validation loss", "epoch", lines))
    return write_html(
        _PAGE,
        folder,
        runs=[{**run.as_dict(), "looks": _looks(drawn, run)} for run in runs],
        intervals=any(run.interval for run in runs),
        trained=any(run.train_images for run in runs),
        charts=[drawing(chart) for chart in charts],
        drawn=len(drawn),
        left_out=len(curved) - len(drawn),
        without=len(runs) - len(curved),
    )


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    begun = is_there(folder / "config.yaml") and (
        is_there(folder / "log.jsonl") or is_folder(folder / "checkpoints")
    )
    if begun or is_there(folder / "bundle" / MANIFEST):
        yield folder
    if depth == 0:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name not in _OWN and not entry.name.startswith(".") and entry.is_dir():
            yield from _runs_below(entry, depth - 1)


def _settings(path: Path) -> Mapping[str, Any]:
    if not is_there(path):
        return {}
    yaml = require("yaml", extra="fast")
    try:
        settings = yaml.safe_load(read_regular(path, _MAX_SETTINGS))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, Mapping) else {}


def _json(path: Path) -> Any:
    """Return the content of a JSON file, ``None`` if it cannot be read."""
    try:
        return json.loads(read_regular(path, _MAX_RECORD))
    except (OSError, ValueError, RecursionError):
        return None


def _at(value: Any, *keys: str | int) -> Any:
    """Return what is at the keys of nested mappings and lists, ``None`` if nothing is."""
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def _number(value: Any, *keys: str | int) -> int | None:
    number = _at(value, *keys)
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _over_time(run: PastRun, unit: int) -> Line:
    """Return top-1 over the time that the run had spent on its steps."""
    passed, points = 0.0, []
    seconds = dict(column(run.entries, "seconds"))
    top1 = dict(column(run.entries, "top1"))
    for epoch in seconds:
        passed += seconds[epoch]
        if epoch in top1:
            points.append((passed / unit, top1[epoch]))
    return Line(run.name, points)


def _looks(drawn: Sequence[PastRun], run: PastRun) -> dict[str, Any]:
    place = next((place for place, other in enumerate(drawn) if other is run), None)
    if place is None:
        return {"colour": "", "dash": ""}
    return {"colour": f"var(--line-{place % COLOURS})", "dash": "" if place < COLOURS else "6 4"}
