"""Class folders inside a ``.zip``, read in place without extraction."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ghostclas.data.archives import reason
from ghostclas.data.classes import first_few
from ghostclas.data.filenames import is_hidden
from ghostclas.data.tree import MAX_DEPTH, Listing
from ghostclas.errors import DataError, GhostclasError, ImageError
from ghostclas.files import check_regular
from ghostclas.image_files import HEAD_BYTES

MAX_IMAGE_BYTES = 512 * 1024 * 1024
"""A larger entry is refused unread: it is no photo, and may be a zip bomb."""

_CP437 = "cp437"
"""How ``zipfile`` decodes a name that is not marked as UTF-8."""

_UTF8_FLAG = 0x800
_PART = 1 << 20
_SHOWN_SIGNS = 200


class ZipTree:
    """A :class:`~ghostclas.data.tree.Tree` of the files in an archive.

    Each process opens the archive on first use, because a forked worker would share the position in its
    parent's file. Threads of one process may read at the same time.
    """

    def __init__(self, archive: Path, folder: str = "") -> None:
        """Refer to ``folder`` (all of it by default) of ``archive``; nothing is opened yet."""
        self.archive = archive
        self.folder = folder
        self._lock = threading.Lock()
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return f"{self.archive}/{self.folder}" if self.folder else str(self.archive)

    def walk(self) -> Listing:
        """List every file and folder that is not hidden; only files of unknown extension are opened.

        Raises:
            DataError: the archive cannot be read, is encrypted, holds unsafe or repeated names.
        """
        files: list[str] = []
        folders: set[str] = set()
        start = f"{self.folder}/" if self.folder else ""
        seen: set[str] = set()
        archive = self._zip()
        for entry in archive.infolist():
            name = entry.filename
            if name in seen:
                raise DataError(
                    f"{self.archive}: the entry {name!r} occurs twice; which one counts is unclear"
                )
            seen.add(name)
            parts = name.rstrip("/").split("/")
            if name.startswith("/") or ".." in parts or "" in parts or "\\" in name:
                raise DataError(f"{self.archive}: the entry {name!r} is not a plain relative path")
            if any(map(is_hidden, parts)) or not name.startswith(start) or name == start:
                continue
            if entry.flag_bits & 1:
                raise DataError(f"{self.archive}: the entry {name!r} is encrypted")
            inside = name[len(start) :].rstrip("/")
            steps = inside.split("/")
            if len(steps) > MAX_DEPTH:
                raise DataError(
                    f"{self.archive}: the entry {name[:_SHOWN_SIGNS]!r} lies more than "
                    f"{MAX_DEPTH} folders deep"
                )
            folders.update("/".join(steps[:depth]) for depth in range(1, len(steps)))
            (folders.add if entry.is_dir() else files.append)(inside)
        return Listing.of(files, folders, self._head, _encoding_note(self.archive, archive))

    def read(self, path: str) -> bytes:
        """Return the content of the entry at ``path``.

        Raises:
            ImageError: ``not_found``, ``unreadable`` (damaged) or ``too_large``.
            DataError: the archive itself is gone or damaged.
        """
        name = f"{self.folder}/{path}" if self.folder else path
        archive = self._zip()
        if name not in archive.NameToInfo:
            raise ImageError("not_found", f"{self.archive} holds no {name}")
        entry = archive.getinfo(name)
        if entry.file_size > MAX_IMAGE_BYTES:
            raise ImageError("too_large", f"{self.archive}/{name} would unpack to {entry.file_size:,} bytes")
        with _errors_of(f"{self.archive}/{name}"):
            return _content(archive, entry, entry.file_size)

    def stamp(self, path: str) -> tuple[int, int]:
        """Return the size and the checksum of the entry at ``path``, which :meth:`walk` listed."""
        entry = self._zip().getinfo(f"{self.folder}/{path}" if self.folder else path)
        return entry.file_size, entry.CRC

    def _head(self, path: str) -> bytes:
        archive = self._zip()
        with suppress(ImageError), _errors_of(path):
            entry = archive.getinfo(f"{self.folder}/{path}" if self.folder else path)
            return _content(archive, entry, HEAD_BYTES)
        return b""

    def below(self, folder: str) -> ZipTree:
        """Return the tree under ``folder``."""
        return ZipTree(self.archive, f"{self.folder}/{folder}" if self.folder else folder)

    def close(self) -> None:
        """Close the archive if it is open; the next read opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened[1].close()
                self._opened = None

    def _zip(self) -> zipfile.ZipFile:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            with self._lock:
                opened = self._opened
                if opened is None or opened[0] != os.getpid():
                    opened = self._opened = (os.getpid(), _open(self.archive))
        return opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"archive": self.archive, "folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipTree) and (self.archive, self.folder) == (other.archive, other.folder)

    def __hash__(self) -> int:
        return hash((self.archive, self.folder))


def enter(tree: ZipTree, listing: Listing, stop_at: frozenset[str]) -> tuple[ZipTree, Listing]:
    """Return the folder that holds everything: archives made from a folder often have a single one.

    A folder is stepped into when it is the only one, no image lies beside it or directly in it, and it is
    not one of ``stop_at``.
    """
    while True:
        top = listing.top()
        if len(top) != 1 or top[0] in stop_at or listing.loose() or listing.loose(top[0]):
            return tree, listing
        inner = listing.below(top[0])
        if not inner.images:
            return tree, listing
        tree, listing = tree.below(top[0]), inner


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        check_regular(archive)
        opened = zipfile.ZipFile(archive)
        encoding = _encoding([entry for entry in opened.infolist() if _is_unmarked(entry)])
        if encoding == _CP437:
            return opened
        opened.close()
        return zipfile.ZipFile(archive, metadata_encoding=encoding)
    except FileNotFoundError:
        raise DataError(f"no such file: {archive}") from None
    except Exception as error:  # zipfile raises nearly every class there is for a damaged directory
        raise DataError(f"cannot read the archive {archive}: {reason(error)}") from None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the first ``limit`` bytes of an entry.

    ``ZipFile.read`` unpacks more than an entry says that it holds, before it compares.
    """
    with archive.open(entry) as file:
        parts, left = [], limit
        while left > 0 and (part := file.read(min(left, _PART))):
            parts.append(part)
            left -= len(part)
        if not left and limit == entry.file_size:
            # The checksum is compared where the end is read.
            file.read(1)
        return b"".join(parts)


@contextmanager
def _errors_of(entry: str) -> Iterator[None]:
    try:
        yield
    except GhostclasError:
        raise
    except Exception as error:  # zipfile and its decoders raise nearly every class there is for damage
        code = "too_large" if isinstance(error, MemoryError) else "unreadable"
        raise ImageError(code, f"cannot read {entry}: {reason(error)}") from None


def _is_unmarked(entry: zipfile.ZipInfo) -> bool:
    """Whether the entry's name is not ASCII and not marked as UTF-8: which encoding it has is a guess."""
    return not entry.flag_bits & _UTF8_FLAG and not entry.orig_filename.isascii()


def _encoding(unmarked: Sequence[zipfile.ZipInfo]) -> str:
    """Return the encoding of names that are not marked, which ``zipfile`` has decoded as code page 437.

    Packers on Windows write the system's code page. In China that is GBK, in which both bytes of a common
    character are above 0xA0. Most accents of code page 437, which the format prescribes, are below.
    """
    names = [entry.orig_filename.encode(_CP437) for entry in unmarked]
    for strict, encoding in (("utf-8", "utf-8"), ("gb2312", "gb18030")) if names else ():
        try:
            for name in names:
                name.decode(strict)
        except UnicodeDecodeError:
            continue
        return encoding
    return _CP437


def _encoding_note(path: Path, opened: zipfile.ZipFile) -> tuple[str, ...]:
    unmarked = [entry for entry in opened.infolist() if _is_unmarked(entry)]
    encoding = opened.metadata_encoding or _CP437  # type: ignore[attr-defined]
    if not unmarked or encoding == "utf-8":
        return ()
    called = {"gb18030": "GBK", _CP437: "code page 437"}[encoding]
    return (
        f"{path}: names that are not marked as UTF-8 were read as {called}: "
        f"{first_few(repr(entry.filename) for entry in unmarked)}; "
        "if they are wrong, unpack the archive and use the folder",
    )
