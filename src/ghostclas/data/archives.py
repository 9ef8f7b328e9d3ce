"""Files out of untrusted ``.tar`` archives.

``tarfile`` stops silently at a damaged header, follows links, and writes wherever a member's name points.
This module reads an archive to its end mark or refuses it. It writes only new regular files, at places that
the caller chooses.
"""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ghostclas.errors import DataError, GhostclasError
from ghostclas.files import check_regular

MAX_FILE_BYTES = 512 * 1024 * 1024
"""The largest member that is unpacked; a photo is never that large."""

_BLOCK = 512
_CHUNK = 1024 * 1024
_MAX_HEADER = 1 << 20
_MAX_HEADERS = 32
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_SHOWN_SIGNS = 200
_MAX_NAME = 4096
_MAX_PART = 255
_DAMAGE = (
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What ``tarfile`` and its decompressors raise for a damaged archive, depending on where the damage is."""
_KINDS = (
    (tarfile.TarInfo.issym, "a symbolic link"),
    (tarfile.TarInfo.islnk, "a hard link"),
    (tarfile.TarInfo.isfifo, "a pipe"),
    (tarfile.TarInfo.isdev, "a device"),
    (tarfile.TarInfo.issparse, "a sparse file"),
)


class _Member(tarfile.TarInfo):
    """A member whose extended headers are few and small.

    ``tarfile`` reads a header of any size, calls itself for the next one, and goes through all of an
    archive's global headers for each member. ``_proc_member`` is where it lets others step in.
    """

    def _proc_member(self, tar: _Archive) -> tarfile.TarInfo:
        tar.headers = tar.headers + 1 if self.type in _EXTENDED else 0
        if tar.headers and not 0 <= self.size <= _MAX_HEADER:
            raise tarfile.ReadError(f"an extended header of {self.size:,} bytes")
        if max(tar.headers, len(tar.pax_headers)) > _MAX_HEADERS:
            raise tarfile.ReadError("too many extended headers")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return member


class _Archive(tarfile.TarFile):
    tarinfo = _Member
    headers = 0
    """How many extended headers came one after the other."""


@contextmanager
def open_tar(archive: Path, *, compressed: bool = True) -> Iterator[tarfile.TarFile]:
    """Open an archive. It may be compressed only if ``compressed`` is true.

    Raises:
        DataError: it cannot be read, also when that shows only inside the ``with`` block.
    """
    with _errors_of(str(archive)), _opened(archive, compressed) as tar:
        yield tar


def _opened(archive: Path, compressed: bool) -> tarfile.TarFile:
    check_regular(archive)
    return _Archive.open(archive, "r:*" if compressed else "r:")


@contextmanager
def open_inner_tar(
    outer: tarfile.TarFile, member: tarfile.TarInfo, location: str
) -> Iterator[tarfile.TarFile]:
    """Open an uncompressed archive that is a member of another one, in place.

    Raises:
        DataError: it cannot be read, also when that shows only inside the ``with`` block.
    """
    with _errors_of(location), _inner(outer, member) as tar:
        yield tar


def _inner(outer: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarFile:
    return _Archive.open(fileobj=outer.extractfile(member), mode="r:")


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
        if member.size < 0:
            raise DataError(f"{location}: {member.name!r} has {member.size:,} bytes; get the archive again")
        if max_bytes is not None and member.size > max_bytes:
            raise DataError(
                f"{location}: {member.name!r} has {member.size:,} bytes; the limit is {max_bytes:,}"
            )
        yield name, member
    _check_end(tar, location)


def safe_path(name: str, location: str) -> PurePosixPath:
    """Return a member's name as a relative path that stays where it is unpacked.

    Raises:
        DataError: it is absolute, contains ``..``, a drive, a backslash, a control character, or nothing, or
            is longer than a file's name can be.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or "\\" in name or name[1:2] == ":"
    if bad or any(ord(sign) < 32 for sign in name) or (not parts and name not in (".", "./")):
        raise DataError(
            f"{location}: {name[:_SHOWN_SIGNS]!r} is not a plain relative path; refusing to unpack it"
        )
    if len(name) > _MAX_NAME or any(len(os.fsencode(part)) > _MAX_PART for part in parts):
        raise DataError(f"{location}: {name[:_SHOWN_SIGNS]!r}... is longer than the name of a file can be")
    return PurePosixPath(*parts)


def write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write the content of a regular member to ``target``, a new file in a folder that exists.

    Never goes through a link at ``target`` and never replaces anything. A kill leaves a file that is shorter
    than the member.

    Raises:
        DataError: ``target`` exists, or the archive ends too early.
    """
    content = _content(tar, member)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(target, flags, 0o644)
    except FileExistsError:
        raise DataError(f"{target} exists already; remove it, or choose an empty folder") from None
    # Whoever walks through the archive is not inside of its ``with`` block now.
    with os.fdopen(descriptor, "wb") as file, _errors_of(f"{tar.name!r}: {member.name}"):
        written = _copy(content, file)
    if written != member.size:
        raise DataError(f"{tar.name!r} ends within {member.name!r}")


def read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the content of a regular member.

    Raises:
        DataError: the archive is damaged or ends too early.
    """
    content = _content(tar, member)
    with _errors_of(f"{tar.name!r}: {member.name}"):
        data = content.read()
    if len(data) != member.size:
        raise DataError(f"{tar.name!r} ends within {member.name!r}")
    return data


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise DataError(f"{tar.name!r}: {member.name!r} is not a regular file")
    return content


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
    except GhostclasError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"no such file: {error.filename or location}") from None
    except OSError as error:
        if error.errno is None:  # gzip says so that this is no gzip
            raise DataError(f"{location} is damaged, cut short or no .tar archive: {error}") from None
        raise DataError(f"{error.filename or location}: {error.strerror}") from None
    except _DAMAGE as error:
        raise DataError(f"{location} is damaged, cut short or no .tar archive: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Return what an exception of a decoder says, in a few words."""
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:_SHOWN_SIGNS] or type(error).__name__
