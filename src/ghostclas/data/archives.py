"""Files out of untrusted ``.tar`` archives.

``tarfile`` stops silently at a damaged header, follows links, and writes wherever a member's name points.
This module reads an archive to its end mark or refuses it. It writes only new regular files, at places that
the caller chooses.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ghostclas.errors import DataError

MAX_FILE_BYTES = 512 * 1024 * 1024
"""The largest member that is unpacked; a photo is never that large."""

_BLOCK = 512
_CHUNK = 1024 * 1024
_KINDS = (
    (tarfile.TarInfo.issym, "a symbolic link"),
    (tarfile.TarInfo.islnk, "a hard link"),
    (tarfile.TarInfo.isfifo, "a pipe"),
    (tarfile.TarInfo.isdev, "a device"),
    (tarfile.TarInfo.issparse, "a sparse file"),
)


@contextmanager
def open_tar(archive: Path, *, compressed: bool = True) -> Iterator[tarfile.TarFile]:
    """Open an archive. It may be compressed only if ``compressed`` is true.

    Raises:
        DataError: it cannot be read, also when that shows only inside the ``with`` block.
    """
    with _errors_of(str(archive)), tarfile.open(archive, "r:*" if compressed else "r:") as tar:
        yield tar


@contextmanager
def open_inner_tar(
    outer: tarfile.TarFile, member: tarfile.TarInfo, location: str
) -> Iterator[tarfile.TarFile]:
    """Open an uncompressed archive that is a member of another one, in place.

    Raises:
        DataError: it cannot be read, also when that shows only inside the ``with`` block.
    """
    with _errors_of(location), tarfile.open(fileobj=outer.extractfile(member), mode="r:") as tar:
        yield tar


def regular_members(
    tar: tarfile.TarFile, location: str, *, max_bytes: int | None = MAX_FILE_BYTES
) -> Iterator[tuple[PurePosixPath, tarfile.TarInfo]]:
    """Yield the regular files of an archive with their checked names, in its order.

    It skips folders, which are made for the files in them. It raises at a bad member, after it has yielded
    the members before.

    Args:
        tar: an open archive, not read from yet.
        location: how messages call it.
        max_bytes: the largest member that is accepted.

    Raises:
        DataError: a name that is absolute, leaves the archive or occurs twice; a link, device, pipe or sparse
            file; a member that is too large; an archive that is damaged or ends without its end mark.
    """
    seen: set[PurePosixPath] = set()
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # it keeps every member otherwise
        name = safe_path(member.name, location)
        for is_kind, kind in _KINDS:
            if is_kind(member):
                raise DataError(f"{location}: {member.name!r} is {kind}; only regular files are unpacked")
        if member.isdir():
            continue
        if not member.isreg():
            raise DataError(f"{location}: {member.name!r} is of the unknown type {member.type!r}")
        if name in seen:
            raise DataError(f"{location}: {member.name!r} occurs twice; which one counts is unclear")
        seen.add(name)
        if max_bytes is not None and member.size > max_bytes:
            raise DataError(
                f"{location}: {member.name!r} has {member.size:,} bytes; the limit is {max_bytes:,}"
            )
        yield name, member
    _check_end(tar, location)


def safe_path(name: str, location: str) -> PurePosixPath:
    """Return a member's name as a relative path that stays where it is unpacked.

    Raises:
        DataError: it is absolute, contains ``..``, a drive, a backslash, a control character, or nothing.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or "\\" in name or name[1:2] == ":"
    if bad or any(ord(sign) < 32 for sign in name) or (not parts and name not in (".", "./")):
        raise DataError(f"{location}: {name!r} is not a plain relative path; refusing to unpack it")
    return PurePosixPath(*parts)


def write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write the content of a regular member to ``target``, a new file in a folder that exists.

    Never goes through a link at ``target`` and never replaces anything. A kill leaves a file that is shorter
    than the member.

    Raises:
        DataError: ``target`` exists, or the archive ends too early.
    """
    content = tar.extractfile(member)
    if content is None:
        raise DataError(f"{tar.name!r}: {member.name!r} is not a regular file")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(target, flags, 0o644)
    except FileExistsError:
        raise DataError(f"{target} exists already; remove it, or choose an empty folder") from None
    with os.fdopen(descriptor, "wb") as file:
        written = _copy(content, file)
    if written != member.size:
        raise DataError(f"{tar.name!r} ends within {member.name!r}")


def _copy(content: IO[bytes], file: IO[bytes]) -> int:
    written = 0
    while chunk := content.read(_CHUNK):
        written += file.write(chunk)
    return written


def _check_end(tar: tarfile.TarFile, location: str) -> None:
    """Check the end mark: ``tarfile`` ends at a damaged header, too, but only a block of zeros is the end."""
    if tar.fileobj is None:
        raise DataError(f"{location} is closed")
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(_BLOCK)
    if len(block) < _BLOCK:
        raise DataError(f"{location} is cut short: it has no end mark; get it again")
    if any(block):
        raise DataError(f"{location} is damaged at byte {tar.offset:,}; get it again")


@contextmanager
def _errors_of(location: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"no such file: {error.filename or location}") from None
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{location} is damaged, cut short or no .tar archive: {error}") from None
