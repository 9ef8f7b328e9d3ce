"""The trial of a file that comes from elsewhere, in a process of its own, before it is opened in this one.

Runtimes are native code that was not written for hostile files: damaged ones crash some of them, and no
``except`` catches that. So a file that was neither made nor tried on this machine is first loaded and run in
a worker with limits on time and memory. That it went well is remembered by the digests of the file and of its
companions, in a folder of the cache that only this user can write to, so that the trial is paid for once.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

from ghostclas.bundle import BundleFile, Precision, default_bundle_path
from ghostclas.cache import cache_directory
from ghostclas.engines.table import DEFAULT_ENGINE, find_runtime
from ghostclas.errors import BundleError, GhostclasError

_IMAGES = 2
_MEMORY = 4 * 2**30
_COPIES = 8
"""How many times the size of its file a network may take, beyond ``_MEMORY``."""
_OTHERS_CAN_WRITE = 0o022

# What this process knows, also where the cache cannot be written to.
_known: set[str] = set()


def is_known(name: str, file: BundleFile) -> bool:
    """Return whether the engine ``name`` may open the file in this process, without a trial."""
    if file.bundle.path == default_bundle_path():
        return True
    key = _key(name, file)
    if key not in _known and (_folder() / key).is_file() and _is_private(_folder()):
        _known.add(key)
    return key in _known


def remember(name: str, file: BundleFile) -> None:
    """Record that the engine ``name`` may open the file: it was made here, or went through a trial."""
    key = _key(name, file)
    _known.add(key)
    # Where nothing can be kept, the next process tries again.
    with suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        (_folder() / key).touch()


def try_out(name: str, file: BundleFile, inference_precision: Precision | None = None) -> None:
    """Load the file into the engine ``name`` in a worker, run two black photos, and remember the success.

    Raises:
        BundleError: the runtime refuses the file, crashes, or takes too long or too much memory; one line
            names the file and says what to do.
        MissingExtraError: the engine's package is not installed.
    """
    from ghostclas.engines.isolated import IsolatedEngine, Limits, WorkerEndedError

    runtime = find_runtime(name)
    image = file.entry.input
    assert image is not None
    photos = np.zeros((_IMAGES, image.size("H") or 1, image.size("W") or 1, 3), np.uint8)
    size = sum(entry.bytes for entry in (file.entry, *file.companions))
    limits = Limits(2.0 * runtime.trial_seconds, runtime.trial_seconds, _MEMORY + _COPIES * size)
    where = f"{file.bundle.path}: {file.entry.path}"
    for entry in (file.entry, *file.companions):
        # What does not verify needs no worker to be refused.
        file.bundle.path_of(entry)
    try:
        with closing(
            IsolatedEngine(
                name, runtime, file, threads=1, inference_precision=inference_precision, limits=limits
            )
        ) as engine:
            engine.run(photos)
    except WorkerEndedError as error:
        raise BundleError(
            f"{where} did not pass its trial: {name} {_how(error.status, limits.cpu_seconds)} in a process "
            "of its own, and nothing was loaded here; get the bundle from its maker again"
            + ("" if name == DEFAULT_ENGINE else f", or use --engine {DEFAULT_ENGINE}")
        ) from None
    except GhostclasError:
        raise
    except Exception as error:  # whatever a runtime raises that the engine did not expect
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(f"{where} did not pass its trial in {name}: {reason}") from None
    remember(name, file)


def _how(status: int, cpu_seconds: int) -> str:
    if status in (-9, -getattr(signal, "SIGXCPU", 0)):
        return f"took more than {cpu_seconds} seconds or was killed"
    try:
        return f"crashed ({signal.Signals(-status).name})"
    except ValueError:
        return f"ended (exit status {status})"


def _key(name: str, file: BundleFile) -> str:
    digests = sorted((entry.path, entry.sha256) for entry in (file.entry, *file.companions))
    return sha256(json.dumps([name, file.entry.path, digests]).encode()).hexdigest()


def _folder() -> Path:
    return cache_directory() / "tried"


def _is_private(folder: Path) -> bool:
    """Return whether nobody else can write there, as far as this system says it."""
    if not hasattr(os, "getuid"):
        return True
    status = folder.lstat()
    return status.st_uid == os.getuid() and not status.st_mode & _OTHERS_CAN_WRITE
