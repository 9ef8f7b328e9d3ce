"""Files and folders that are replaced whole or not at all, whenever the process dies."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path


def exchange(staged: Path, target: Path) -> None:
    """Put the complete folder ``staged`` at ``target``, whose previous content is gone afterwards.

    At every instant one of them is at ``target`` or, between two renames, the previous one at
    ``aside_of(target)``.
    """
    aside = aside_of(target)
    if not target.exists():
        staged.rename(target)
    else:
        if aside.exists():
            shutil.rmtree(aside)
        target.rename(aside)
        try:
            staged.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    flush(target.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Make ``content`` the content of the file ``path``."""
    part = beside(path)
    try:
        part.write_bytes(content)
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Make ``text`` the content of the file ``path``, in UTF-8; names that are not UTF-8 come escaped."""
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def aside_of(target: Path) -> Path:
    """Return where the previous folder is while the next one takes its place."""
    return target.absolute().parent / f".{target.absolute().name}.previous"


def beside(path: Path) -> Path:
    """Return a new hidden name in the same folder, and so on the same disk."""
    return path.absolute().parent / f".{path.absolute().name}.{secrets.token_hex(4)}.tmp"


def flush(path: Path) -> None:
    """Make a file or a folder survive a power cut; folders cannot be flushed everywhere."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    with suppress(PermissionError):
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
