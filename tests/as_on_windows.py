"""Walks the main job in a process that lacks what Windows lacks: a script for ``tests/test_windows.py``.

    python as_on_windows.py PHOTOS WORK

There is no ``fcntl``, no ``fork`` and no ``sched_getaffinity``, folders cannot be opened, locks are msvcrt's,
and text is in no encoding unless one is named. Loader processes are spawned: they import this script again,
and so lack the same.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import shutil
import socket  # noqa: F401 - before it could see the platform that is not
import sys
import types
import warnings
from pathlib import Path
from typing import Any

PLATFORM = sys.platform


class _WindowsSys(types.ModuleType):
    """``sys`` as the package sees it."""

    platform = "win32"

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def _msvcrt() -> types.ModuleType:
    def locking(descriptor: int, mode: int, length: int) -> None:
        assert (mode, length) == (2, 1)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, os.lseek(descriptor, 0, os.SEEK_CUR))

    module = types.ModuleType("msvcrt")
    vars(module).update(LK_NBLCK=2, locking=locking)
    return module


def imitate_windows() -> None:
    """Take from this process what Windows has not."""
    sys.modules["msvcrt"] = _msvcrt()
    opened = os.open

    def open_file(path: Any, *arguments: Any, **options: Any) -> int:
        if isinstance(path, str | os.PathLike) and Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    vars(os)["open"] = open_file
    # Python removes trees without opening their folders where it cannot.
    vars(shutil)["_use_fd_functions"] = False
    for name in ("sched_getaffinity", "fork"):
        delattr(os, name)
    # What the package does by the platform, it does in these modules.
    sys.platform = "win32"
    import ghostclas.files
    import ghostclas.memory

    sys.platform = PLATFORM
    # The standard library takes it for a sign of the whole of Windows.
    del sys.modules["msvcrt"]
    windows = _WindowsSys("sys")
    sys.modules["fcntl"] = None  # type: ignore[assignment]
    import ghostclas.training.input.shared_memory
    import ghostclas.training.memory

    for module in (
        ghostclas.files,
        ghostclas.memory,
        ghostclas.training.memory,
        ghostclas.training.input.shared_memory,
    ):
        vars(module)["sys"] = windows
    warnings.filterwarnings("error", category=EncodingWarning, module=r"ghostclas\b")


imitate_windows()


def walk(photos: Path, work: Path) -> None:
    from ghostclas.cli import main

    run = work / "run"
    settings = {
        "data.resolution": 32,
        "schedule.epochs": 1,
        "schedule.warmup_epochs": 0,
        "loop.device": "cpu",
        "loop.batch_size": 6,
        "augment.policy": "trivialaugment",
    }
    train = ["train", "--output", str(run)]
    fresh = [f"--set={key}={value}" for key, value in {**settings, "data.workers": 1}.items()]
    steps = [
        [*train, "--data", str(photos), "--network", "ghostnet_x0_2", "--recipe", "scratch", *fresh],
        [*train, "--resume", "--set=data.workers=0"],
        ["predict", str(photos / "val"), "--model", str(run), "--output", str(work / "answers")],
        ["export", "--model", str(run), "--format", "onnx", "--precision", "fp16"],
        ["verify", str(run / "bundle")],
    ]
    for step in steps:
        assert main(step) == 0, step
        if step is steps[0]:
            shutil.rmtree(run / "bundle")
    assert json.loads((run / "data.json").read_text(encoding="utf-8"))["train"]["images"] == 12


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    walk(Path(sys.argv[1]), Path(sys.argv[2]))
