"""Class folders inside a ``.zip``, read in place without extraction."""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

from ghostclas.data.filenames import is_hidden, is_image
from ghostclas.data.tree import Listing
from ghostclas.errors import DataError, ImageError

MAX_IMAGE_BYTES = 512 * 1024 * 1024
"""An entry that says it unpacks to more is refused unread: no photo is that large, zip bombs are."""


class ZipTree:
    """A :class:`~ghostclas.data.tree.Tree` of the files in an archive.

    The archive is opened on first use, once in each process: a forked worker that went on with its parent's
    file would share its position. Threads of one process may read at the same time.
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
        """Return every file and folder that is not hidden.

        Raises:
            DataError: the archive cannot be read, is encrypted, holds unsafe or repeated names.
        """
        files: list[str] = []
        folders: set[str] = set()
        start = f"{self.folder}/" if self.folder else ""
        seen: set[str] = set()
        for entry in self._zip().infolist():
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
            folders.update("/".join(steps[:depth]) for depth in range(1, len(steps)))
            (folders.add if entry.is_dir() else files.append)(inside)
        return Listing(sorted(files), sorted(folders))

    def read(self, path: str) -> bytes:
        """Return the content of the entry at ``path``.

        Raises:
            ImageError: ``not_found``, ``unreadable`` (damaged) or ``too_large``.
            DataError: the archive itself is gone or damaged.
        """
        name = f"{self.folder}/{path}" if self.folder else path
        archive = self._zip()
        try:
            entry = archive.getinfo(name)
            if entry.file_size > MAX_IMAGE_BYTES:
                raise ImageError(
                    "too_large", f"{self.archive}/{name} would unpack to {entry.file_size:,} bytes"
                )
            return archive.read(entry)
        except KeyError:
            raise ImageError("not_found", f"{self.archive} holds no {name}") from None
        except (
            OSError,
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            EOFError,
            NotImplementedError,
        ) as error:
            raise ImageError("unreadable", f"cannot read {self.archive}/{name}: {error}") from None

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
    """Step into the one folder that wraps everything, as archives made from a folder have it.

    A folder is stepped into when it is the only one, no image lies beside it or directly in it, and it is
    not one of ``stop_at``.
    """
    while True:
        top = listing.top()
        if len(top) != 1 or top[0] in stop_at or listing.loose() or listing.loose(top[0]):
            return tree, listing
        inner = listing.below(top[0])
        if not any(map(is_image, inner.files)):
            return tree, listing
        tree, listing = tree.below(top[0]), inner


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except FileNotFoundError:
        raise DataError(f"no such file: {archive}") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"cannot read the archive {archive}: {error}") from None
