"""The exceptions of ghostclas and the exit code each one gives the command line.

    GhostclasError            1
    ├── UsageError            2   a flag, a name or a setting that does not exist
    ├── DataError             3   images, labels or folders that cannot be used
    │   └── ImageError                one image that cannot be decoded, with a stable code
    ├── BundleError           4   an artifact or weights file that does not verify
    ├── MissingExtraError     5   a package that an extra would install
    ├── TrainingError         6   a run that cannot start or go on
    └── ExportError           7   a conversion that failed or answers differently

Every message says what was wrong, where, and what to do. Lines after the first are details. A user's mistake
raises one of these classes; any other exception is a bug and shows its traceback.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from difflib import get_close_matches

_ON_WINDOWS = os.name == "nt"


class GhostclasError(Exception):
    """The base of all exceptions that ghostclas raises on purpose."""

    exit_code = 1


class UsageError(GhostclasError):
    """A flag, a name or a setting that does not exist or does not fit."""

    exit_code = 2


class DataError(GhostclasError):
    """Images, labels or folders that cannot be used."""

    exit_code = 3


class ImageError(DataError):
    """One image that cannot be decoded. ``code`` is stable: programs may branch on it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BundleError(GhostclasError):
    """An artifact or a weights file that does not verify."""

    exit_code = 4


class MissingExtraError(GhostclasError):
    """A package is not installed that one of the extras brings."""

    exit_code = 5


class TrainingError(GhostclasError):
    """A training run that cannot start or go on."""

    exit_code = 6


class ExportError(GhostclasError):
    """A conversion that failed, or whose result answers differently."""

    exit_code = 7


class Terminated(KeyboardInterrupt):
    """SIGTERM has asked a training run to end. No mistake, and so no ``GhostclasError``."""

    exit_code = 143


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the valid names nearest to ``name``, else ``""``."""
    near = get_close_matches(name, list(valid), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def command_line(*words: str) -> str:
    """Return a command as the shell of this system reads it: words are quoted where they need it."""
    if _ON_WINDOWS:
        from subprocess import list2cmdline

        return list2cmdline(words)
    return shlex.join(words)


def is_url(text: str) -> bool:
    """Return whether this is the address of something on another machine, even after ``Path`` read it."""
    scheme, mark, rest = text.partition(":/")
    return bool(mark and rest) and len(scheme) > 1 and scheme.replace("+", "").isalnum()


def as_url(text: str) -> str:
    """Return the address as its author wrote it: ``Path`` makes ``http:/a`` of ``http://a``."""
    return text if "://" in text else text.replace(":/", "://", 1)


def refuse_url(text: str) -> None:
    """Raise UsageError for a URL: photos, data and models are read from this machine only."""
    if is_url(text):
        raise UsageError(f"{as_url(text)} is a URL: download it first, then give the file or folder")
