"""Files read whole, files and folders replaced whole whenever the process dies, and locks on them."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Self

from ghostclas.errors import UsageError
from ghostclas.terminal import printable
from ghostclas.volume import Volume, volume

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PART = 1 << 20
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_STALE_SECONDS = 24 * 3600
_POLL_SECONDS = 0.05
_SAY_SECONDS = 1.0
# AT_FDCWD, and RENAME_EXCHANGE, which macOS calls RENAME_SWAP.
_HERE, _EXCHANGE = -100, 2
# What ``beside`` gives: where a process id counts, the process, and a random part.
_DRAFT = re.compile(r"\..*\.([0-9a-f]{8})\.(\d{1,9})\.[0-9a-f]{8}\.tmp")
_NAME_LENGTH = 40
# Windows keeps others from reading a locked byte, so this one lies far behind the holder's name.
_LOCKED_BYTE = 1 << 30
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


# ------------------------------------------------------------------ reading


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file. Everything that reads a user's whole file reads it with this.

    Opening a pipe can block, and a device or a file that keeps growing may have no end.

    Args:
        path: the file; links to it are followed.
        limit: the most bytes that are read.

    Raises:
        OSError: it is missing, no regular file, or its name is none that a file can have; ``errno.EFBIG``
            where it is larger than ``limit``, ``errno.ENOMEM`` where memory does not suffice. ``strerror``
            says which.
    """
    check_regular(path)
    # What was a file a moment ago may be a pipe now, and is not waited for.
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _not_regular(path)
            if status.st_size > limit:
                raise _too_large(path, status.st_size, limit)
            content = file.read(status.st_size + 1)
            if more := file.read(1):
                # One call reads at most 2 GB, and a file may grow.
                content += more + _rest(file, limit - len(content))
    except MemoryError:
        raise OSError(errno.ENOMEM, "it does not fit into memory", str(path)) from None
    if len(content) > limit:
        raise _too_large(path, len(content), limit)
    return content


def check_regular(path: Path) -> None:
    """Refuse what is no regular file, before a library that would wait for a pipe opens it.

    Raises:
        OSError: as :func:`read_regular`.
    """
    try:
        mode = path.stat().st_mode
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from None
    if not stat.S_ISREG(mode):
        raise _not_regular(path, is_folder=stat.S_ISDIR(mode))


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether this is a regular file; unlike ``Path.is_file``, False for a name too long for one."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether this is a folder; unlike ``Path.is_dir``, False for a name too long for one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: str | os.PathLike[str]) -> bool:
    """Return whether something has this path; unlike ``Path.exists``, False for a name too long for one."""
    return os.path.exists(path)  # noqa: PTH110


def _rest(file: RawIOBase, limit: int) -> bytes:
    parts: list[bytes] = []
    while limit > 0 and (part := file.read(min(limit, _PART))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _not_regular(path: Path, *, is_folder: bool = False) -> OSError:
    what = "it is a folder" if is_folder else "it is no regular file, but a pipe or a device"
    return OSError(errno.EISDIR if is_folder else errno.EINVAL, what, str(path))


def _too_large(path: Path, size: int, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"it has {size:,} bytes or more; the limit is {limit:,}", str(path))


# ------------------------------------------------------------------ replacing


@contextmanager
def replacing(path: Path, *, previous: Path | None = None, durable: bool = True) -> Iterator[Path]:
    """Yield a hidden path to write a file to; it replaces ``path`` when the block ends.

    If the block raises, ``path`` is unchanged. The parent folder has to exist. What killed writers left in it
    is swept first, see ``sweep_drafts``.

    Args:
        path: the file to replace or to make.
        previous: where the file that was at ``path`` is kept; a kill leaves one of the two complete.
        durable: survive a power cut, too; a cache that can be made again has no need to.

    Raises:
        OSError: the disk refuses.
    """
    if durable:
        sweep_drafts(path.absolute().parent)
    part = beside(path)
    try:
        yield part
        if durable:
            flush(part)
        if previous and path.exists():
            path.replace(previous)
        part.replace(path)
        if durable:
            flush(path.absolute().parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a new hidden folder to fill; it replaces ``target`` when the block ends.

    If the block raises, ``target`` is unchanged. Missing parents of ``target`` are made. The current
    directory and a mount point stay where they are and get the new content entry by entry, which a kill can
    interrupt.

    Args:
        target: the folder to replace or to make.
        durable: survive a power cut, too; thousands of small files take minutes to flush.

    Raises:
        OSError: the disk refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    stays = _has_to_stay(target)
    sweep_drafts(target if stays else target.absolute().parent)
    staged = beside(target / "new") if stays else beside(target)
    staged.mkdir()
    try:
        yield staged
        for path in staged.rglob("*") if durable else ():
            flush(path)
        flush(staged)
        if stays:
            _exchange_content(staged, target)
        else:
            exchange(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Make ``content`` the content of the file ``path``, see ``replacing``."""
    with replacing(path, durable=durable) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Make ``text`` the content of the file ``path``, in UTF-8; names that are not UTF-8 come escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def exchange(staged: Path, target: Path) -> None:
    """Put the complete folder ``staged`` at ``target``, whose previous content is gone afterwards.

    At every instant one of them is at ``target``. Where a system cannot exchange two folders in one step, it
    is at ``aside_of(target)`` between two renames.
    """
    aside = aside_of(target)
    if not target.exists():
        staged.rename(target)
    elif swap(staged, target):
        shutil.rmtree(staged, ignore_errors=True)
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
    flush(target.absolute().parent)


def swap(first: Path, second: Path) -> bool:
    """Exchange two folders in one step, and return whether this system and its disk could."""
    if sys.platform not in ("linux", "darwin"):
        return False
    import ctypes

    names = os.fsencode(first), os.fsencode(second)
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "linux":
            return bool(library.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
        return bool(library.renamex_np(*names, _EXCHANGE) == 0)
    except (OSError, AttributeError):
        return False


def check_folder(folder: str | os.PathLike[str], *, option: str) -> None:
    """Refuse now a folder that nothing could be written into later. It is tried, and no trace is left.

    Raises:
        UsageError: it cannot be made or written to; the message names the command line's ``option``.
    """
    path = Path(folder)
    missing = [parent for parent in (path, *path.parents) if not is_there(parent)]
    made: list[Path] = []
    try:
        for parent in reversed(missing):
            parent.mkdir()
            made.append(parent)
        probe = beside(path / "probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write to {path}: {error.strerror}; choose another folder with {option}"
        ) from None
    finally:
        for parent in reversed(made):
            parent.rmdir()


def check_replaceable(target: str | os.PathLike[str], *, option: str) -> None:
    """Refuse now a folder that :func:`replacing_folder` could not put in its place later.

    Raises:
        UsageError: as :func:`check_folder`.
    """
    path = Path(target)
    inside = _has_to_stay(path) or not is_there(path)
    check_folder(path if inside else path.absolute().parent, option=option)


def _has_to_stay(target: Path) -> bool:
    """Whether renaming this folder fails, as for a mount point, or takes it from under somebody's shell."""
    return is_folder(target) and (os.path.ismount(target) or Path.cwd().is_relative_to(target.resolve()))


def _exchange_content(staged: Path, target: Path) -> None:
    """Put the content of ``staged``, a hidden folder in ``target``, in place of what is visible there."""
    # The name is no draft's: after a kill, this is the only copy of what was there.
    aside = target / f".previous.{secrets.token_hex(4)}"
    aside.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for source, destination in ((target, aside), (staged, target)):
            for entry in _visible(source):
                place = destination / entry.name
                entry.rename(place)
                moved.append((entry, place))
    except BaseException:
        for entry, place in reversed(moved):
            place.rename(entry)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    flush(target)


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def aside_of(target: Path) -> Path:
    """Return where the previous folder is while the next one takes its place."""
    return target.absolute().parent / f".{target.absolute().name}.previous"


def beside(path: Path) -> Path:
    """Return a new hidden name in the same folder, and so on the same disk; it says who writes there."""
    name = path.absolute().name[:_NAME_LENGTH]
    return path.absolute().parent / f".{name}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


def flush(path: Path) -> None:
    """Make a file or a folder survive a power cut; folders cannot be flushed everywhere."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    with suppress(PermissionError):
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path, *, older_than: float = _STALE_SECONDS) -> None:
    """Remove from ``folder`` the incomplete files of killed writers.

    Args:
        folder: where ``replacing`` wrote.
        older_than: age in seconds; 0 is right where the caller is the only writer.
    """
    for part in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            # A clock that was set back makes files that are newer than now.
            if part.is_file() and (not older_than or time.time() - part.stat().st_mtime >= older_than):
                part.unlink()


def sweep_drafts(folder: Path) -> None:
    """Remove from ``folder`` the files and folders that killed writers left, and none of a living one.

    A writer is gone if its process is. Where that cannot be known, as of another machine's, what it left is
    removed after a day.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _DRAFT.fullmatch(entry.name) if entry.name.endswith(".tmp") else None
            if match is None or not _is_abandoned(entry, match[1], int(match[2])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _is_abandoned(entry: os.DirEntry[str], place: str, process: int) -> bool:
    if place != _place() or sys.platform == "win32":
        return time.time() - entry.stat(follow_symlinks=False).st_mtime >= _STALE_SECONDS
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@cache
def _place() -> str:
    """Return 8 hex digits for where process ids mean what they mean here: this boot of this container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return sha256("\0".join(parts).encode()).hexdigest()[:8]


# ------------------------------------------------------------------ locks


class LockedError(Exception):
    """Another process or thread holds the lock; the text says which process, as far as it is known."""


class Lock:
    """A lock that this process holds until ``release`` or the end of a ``with`` block.

    The system drops it when the process dies, however it dies. Child processes do not inherit it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._process = os.getpid()

    def release(self) -> None:
        """Release the lock; a second call and a call in a forked child do nothing."""
        if self._descriptor is None or self._process != os.getpid():
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            # Removed while it is held, or a file that the next one has locked could be. Windows removes no
            # open file, and so no one else's either.
            if sys.platform != "win32":
                _remove(self.path)
        finally:
            os.close(descriptor)
            with _own:
                _held.pop(self.path, None)
        if sys.platform == "win32":
            _remove(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock(path: Path, *, wait: float = 0.0, say: Callable[[str], None] | None = None) -> Lock:
    """Take the lock whose file is ``path``; at most one holder at a time, across processes and threads.

    Works on Linux, macOS and Windows. The file exists while the lock is held and names the holder; one that
    a killed process left is taken over. A disk that has no locks gives a warning and a lock among the threads
    of this process.

    Args:
        path: the lock's file, of no other use; its folder has to exist.
        wait: for how many seconds to wait for another holder.
        say: is told who is waited for, once, after a second; by default a line on stderr.

    Raises:
        LockedError: another one held it all the time.
        OSError: the file cannot be made.
    """
    path = path.parent.resolve() / path.name
    began = time.monotonic()
    told = False
    while True:
        try:
            return _take(path)
        except LockedError as error:
            waited = time.monotonic() - began
            if waited >= wait:
                raise
            if waited >= _SAY_SECONDS and not told:
                told = True
                (say or _say)(f"waiting for {error}, which holds {path}")
        time.sleep(_POLL_SECONDS)


# The system's lock is one of the process, so threads exclude each other by this table: path -> process. A
# forked child inherits the table, but not the locks.
_held: dict[Path, int] = {}
_own = threading.Lock()


def _take(path: Path) -> Lock:
    with _own:
        if _held.get(path) == os.getpid():
            raise LockedError("another thread of this process")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock_descriptor(descriptor, path)
                # The one who held it may have removed the file after it was opened here.
                if _is_at(descriptor, path):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        os.ftruncate(descriptor, 0)
        # On a full disk the lock holds all the same; only its file does not say for whom.
        with suppress(OSError):
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        _held[path] = os.getpid()
    return Lock(path, descriptor)


def _lock_descriptor(descriptor: int, path: Path) -> None:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            # Unlike flock's, this lock is not inherited by loader processes, which outlive a killed run.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            warnings.warn(
                printable(f"{path}: this disk has no locks; start nothing else that writes here"),
                stacklevel=4,
            )
            return
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = os.read(descriptor, 300).decode("utf-8", "replace").strip()
        raise LockedError(holder or "another process") from None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _say(text: str) -> None:
    if volume() is not Volume.QUIET:
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - whoever waits wants to know why
