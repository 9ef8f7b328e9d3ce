"""A training run on disk: its configuration, log, curves, checkpoints, and the lock that guards them.

runs/<name>/
  config.yaml     the resolved configuration: running it again is this run again
  data.json       which images it learns from: their classes, counts and a hash of their names
  log.jsonl       one object per epoch; curves.png drawn from it
  bad_images.txt  images that could not be used, where there are any
  checkpoints/    last, best
  bundle/         the finished artifact
  report/         index.html: confusion matrix, per-class table, worst mistakes, calibration, curves
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ghostclas import files
from ghostclas.errors import TrainingError, UsageError
from ghostclas.evaluation.logs import read_log
from ghostclas.training.config import TrainConfig, dump_config, resolve_config
from ghostclas.training.places import RUNS, unused_run
from ghostclas.training.resumption import DataRecord, Resume, check_images, check_settings

_LOCK = ".lock"
_OWN_FILES = (_LOCK, "config.yaml", "data.json")


class RunDirectory:
    """The directory of one run, held by at most one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.data = path / "data.json"
        self.log = path / "log.jsonl"
        self.curves = path / "curves.png"
        self.bad_images = path / "bad_images.txt"
        self.last = path / "checkpoints" / "last.pt"
        self.best = path / "checkpoints" / "best.pt"
        self.bundle = path / "bundle"
        self.report = path / "report"
        self._lock: files.Lock | None = None

    def open(self, config: TrainConfig, images: DataRecord | None = None, *, resume: bool) -> tuple[str, ...]:
        """Lock the directory for a new run, or for the continuation of the run in it.

        Args:
            config: the settings.
            images: the record that a continuation is checked against, if any.
            resume: continue the run in the directory.

        Returns:
            Sentences for the user.

        Raises:
            UsageError: it holds a run and ``resume`` is false, or a run with other settings.
            TrainingError: another process is running in it, or the run was started with other images.
        """
        try:
            return self._open(config, images, resume=resume)
        except OSError as error:
            raise UsageError(
                f"cannot make a run in {self.path}: {error.strerror}; choose another --output"
            ) from None

    def _open(self, config: TrainConfig, images: DataRecord | None, *, resume: bool) -> tuple[str, ...]:
        if files.is_there(self.config) and (resume or not self._is_unused()):
            self._hold()
            if not resume:
                raise UsageError(
                    f"{self.path} already holds a run; continue it with --resume, or choose another --output"
                )
            return self._continue(config, images)
        if not self._is_unused():
            raise UsageError(f"{self.path} is not empty and holds no run; choose another --output")
        self.last.parent.mkdir(parents=True, exist_ok=True)
        self._hold()
        # The configuration is written last: it marks the directory as a run.
        if images:
            write_text(self.data, images.model_dump_json())
        write_text(self.config, dump_config(config))
        return ()

    def _continue(self, config: TrainConfig, images: DataRecord | None) -> tuple[str, ...]:
        recorded = DataRecord.read(self.data) if images else None
        started = resolve_config(str(self.config), [], schema=type(config))
        check_settings(started, config, self.path, same_images=recorded is not None)
        if recorded and images:
            check_images(recorded, images, self.path, config.data.path)
        if started != config:
            write_text(self.config, dump_config(config))
        if recorded or not images:
            return ()
        write_text(self.data, images.model_dump_json())
        return (
            f"{self.path} has no record of its images: an earlier version of ghostclas started it. Whether "
            "they are still the same is not checked this time",
        )

    def _is_unused(self) -> bool:
        """Return whether the directory holds only what a failed start leaves."""
        if not files.is_there(self.path):
            return True
        return all(
            not any(entry.iterdir()) if entry.is_dir() else _is_own(entry.name)
            for entry in self.path.iterdir()
        )

    def close(self) -> None:
        """Release the lock of the directory."""
        if self._lock:
            self._lock.release()
            self._lock = None

    def entries(self) -> list[dict[str, Any]]:
        """Return the log: one dictionary per finished epoch. A line cut off by a kill is left out."""
        try:
            return read_log(self.log)
        except OSError as error:
            raise TrainingError(f"cannot read {self.log}: {error.strerror}") from None

    def write_entries(self, entries: Iterable[dict[str, Any]]) -> None:
        """Replace the log."""
        write_text(self.log, "".join(json.dumps(entry) + "\n" for entry in entries))

    def _hold(self) -> None:
        try:
            self._lock = files.lock(self.path / _LOCK)
        except files.LockedError as error:
            raise TrainingError(
                f"another process is training in {self.path} ({error}); wait for it, or choose another "
                "--output"
            ) from None
        for folder in (self.path, self.last.parent):
            files.sweep(folder, older_than=0)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` in one step.

    Raises:
        TrainingError: it cannot be written; what was there is intact.
    """
    try:
        files.write_text(path, text)
    except OSError as error:
        raise TrainingError(
            f"cannot write {path}: {error.strerror}\n       make room, then continue with --resume"
        ) from error


def _is_own(name: str) -> bool:
    return name in _OWN_FILES or (name.startswith((".config.yaml.", ".data.json.")) and name.endswith(".tmp"))


def choose_run(name: str, output: Path | None, *, resume: Resume, root: Path = RUNS) -> tuple[Path, bool]:
    """Return the run directory, and whether the run in it goes on.

    Args:
        name: the name of the run if ``output`` is ``None``: ``root/name``, or ``name-2``, ``name-3``.
        output: the run directory.
        resume: continue the run in ``output``, or the newest of that name; ``"auto"``: if there is one.
        root: the folder of all runs.

    Raises:
        UsageError: there is no run to continue.
    """
    if output is not None:
        there = files.is_there(output / "config.yaml")
        if resume is True and not there:
            raise UsageError(f"{output} holds no run to resume; leave --resume out to start one")
        return output, bool(resume) and there
    runs = [
        path
        for path in root.glob(f"{name}*")
        if (path.name.removeprefix(name).lstrip("-").isdigit() or path.name == name)
        and (path / "config.yaml").exists()
    ]
    if resume and runs:
        return max(runs, key=lambda path: (path / "config.yaml").stat().st_mtime), True
    if resume is True:
        raise UsageError(f"no run called {name} in {root} to resume; name it with --output")
    return unused_run(name, root), False
