"""A training run on disk: its configuration, log, curves, checkpoints, and the lock that guards them.

runs/<name>/
  config.yaml     the resolved configuration: running it again is this run again
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
from ghostclas.training.config import TrainConfig, differences, dump_config, resolve_config

_LOCK = ".lock"
_OWN_FILES = (_LOCK, "config.yaml")


class RunDirectory:
    """The directory of one run, held by at most one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.log = path / "log.jsonl"
        self.curves = path / "curves.png"
        self.bad_images = path / "bad_images.txt"
        self.last = path / "checkpoints" / "last.pt"
        self.best = path / "checkpoints" / "best.pt"
        self.bundle = path / "bundle"
        self.report = path / "report"
        self._lock: files.Lock | None = None

    def open(self, config: TrainConfig, *, resume: bool) -> None:
        """Take hold of the directory for ``config``: a new run, or the continuation of the one that is there.

        Raises:
            UsageError: it holds a run and ``resume`` is false, or a run with other settings.
            TrainingError: another process is running in it.
        """
        try:
            self._open(config, resume=resume)
        except OSError as error:
            raise UsageError(
                f"cannot make a run in {self.path}: {error.strerror}; choose another --output"
            ) from None

    def _open(self, config: TrainConfig, *, resume: bool) -> None:
        if self.config.exists() and (resume or not self._is_unused()):
            self._hold()
            if not resume:
                raise UsageError(
                    f"{self.path} already holds a run; continue it with --resume, or choose another --output"
                )
            changed = differences(resolve_config(str(self.config), [], schema=type(config)), config)
            if changed:
                raise UsageError(
                    f"{self.path} was started with other settings:\n       "
                    + "\n       ".join(changed)
                    + "\n       resume with the settings of config.yaml, or choose another --output"
                )
            return
        if not self._is_unused():
            raise UsageError(f"{self.path} is not empty and holds no run; choose another --output")
        self.last.parent.mkdir(parents=True, exist_ok=True)
        self._hold()
        write_text(self.config, dump_config(config))

    def _is_unused(self) -> bool:
        """Whether there is nothing in the directory but what a start leaves that came to nothing."""
        if not self.path.exists():
            return True
        return all(
            not any(entry.iterdir()) if entry.is_dir() else _is_own(entry.name)
            for entry in self.path.iterdir()
        )

    def close(self) -> None:
        """Let another process have the directory."""
        if self._lock:
            self._lock.release()
            self._lock = None

    def entries(self) -> list[dict[str, Any]]:
        """Return the log: one dictionary per finished epoch. A line cut off by a kill is left out."""
        entries = []
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []:
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return entries

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
    return name in _OWN_FILES or (name.startswith(".config.yaml.") and name.endswith(".tmp"))


def new_run_path(name: str, root: Path = Path("runs")) -> Path:
    """Return ``root/name``, or the first of ``name-2``, ``name-3``, ... that is free."""
    path, number = root / name, 2
    while path.exists():
        path, number = root / f"{name}-{number}", number + 1
    return path


def latest_run_path(name: str, root: Path = Path("runs")) -> Path:
    """Return the newest run called ``name`` or ``name-<number>``.

    Raises:
        UsageError: there is none.
    """
    runs = [
        path
        for path in root.glob(f"{name}*")
        if (path.name.removeprefix(name).lstrip("-").isdigit() or path.name == name)
        and (path / "config.yaml").exists()
    ]
    if not runs:
        raise UsageError(f"no run called {name} in {root} to resume; name it with --output")
    return max(runs, key=lambda path: (path / "config.yaml").stat().st_mtime)
