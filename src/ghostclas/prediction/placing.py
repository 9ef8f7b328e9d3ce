"""One file put at a new path: copied, moved or linked, whole, and never over another file."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from ghostclas.files import beside

How: TypeAlias = Literal["copy", "move", "link"]

# What disks without hard links answer, and links from one disk to another.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
# Windows: a symbolic link needs a right that most users lack.
_NOT_PERMITTED = 1314


def place(source: Path, target: Path, how: How) -> None:
    """Put ``source`` at ``target``; a kill at any instant leaves the photo whole in at least one place.

    Args:
        source: a file; one that is moved is no link.
        target: where it goes; its folder has to exist.
        how: ``copy`` keeps the source and its times; ``move`` removes it afterwards; ``link`` makes a
            symbolic link, or on Windows, where that is not allowed, a second name of the file.

    Raises:
        FileExistsError: something is at ``target`` already; it stays as it is.
        OSError: the disk refuses; the source is as it was.
    """
    if how == "link":
        _link(source, target)
    elif how == "copy":
        _copy(source, target)
    else:
        _move(source, target)


def same_content(first: Path, second: Path) -> bool:
    """Return whether two regular files have the same bytes; ``False`` if one of them cannot be read."""
    try:
        if os.path.samefile(first, second):  # noqa: PTH121
            return True
        if first.stat().st_size != second.stat().st_size:
            return False
        with first.open("rb") as one, second.open("rb") as other:
            while part := one.read(1 << 20):
                if part != other.read(len(part)):
                    return False
        return True
    except OSError:
        return False


def _link(source: Path, target: Path) -> None:
    absolute = os.path.abspath(source)  # noqa: PTH100  # a link in the path stays one
    try:
        target.symlink_to(absolute)
    except OSError as error:
        if sys.platform != "win32" or getattr(error, "winerror", None) != _NOT_PERMITTED:
            raise
        os.link(source, target)


def _copy(source: Path, target: Path) -> None:
    draft = beside(target)
    try:
        shutil.copyfile(source, draft)
        with suppress(OSError):
            shutil.copystat(source, draft)
        _publish(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _move_without_links(source, target)
        return
    try:
        source.unlink()
    except BaseException:
        # The photo stays where it was, and there only.
        target.unlink()
        raise


def _move_without_links(source: Path, target: Path) -> None:
    _reserve(target)
    try:
        source.replace(target)
        return
    except OSError as error:
        _give_up(target)
        if error.errno != errno.EXDEV:
            raise
    _copy(source, target)
    try:
        with target.open("rb+") as copy:
            os.fsync(copy.fileno())
        if not same_content(source, target):
            raise OSError(errno.EIO, "the copy differs from the photo", str(target))
        source.unlink()
    except BaseException:
        target.unlink()
        raise


def _publish(draft: Path, target: Path) -> None:
    """Give a finished draft its name, unless something has it."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _reserve(target)
        try:
            draft.replace(target)
        except BaseException:
            _give_up(target)
            raise


def _reserve(target: Path) -> None:
    """Take a name by an empty file, which only its maker replaces."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _give_up(target: Path) -> None:
    with suppress(OSError):
        if target.stat().st_size == 0:
            target.unlink()
