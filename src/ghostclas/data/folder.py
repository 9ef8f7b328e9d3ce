"""Class folders on disk: ``DIR/<class>/<any depth>/<image>``."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ghostclas.data.filenames import is_hidden, read_head
from ghostclas.data.tree import MAX_DEPTH, Listing
from ghostclas.errors import DataError, ImageError
from ghostclas.files import read_regular
from ghostclas.imaging import MAX_BYTES


@dataclass(frozen=True)
class FolderTree:
    """A :class:`~ghostclas.data.tree.Tree` of files in a directory. Links to folders are followed."""

    root: Path

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return str(self.root)

    def walk(self) -> Listing:
        """List every file and folder that is not hidden; only files of unknown extension are opened.

        Raises:
            DataError: a folder cannot be listed, lies too deep, or a link leads back to a folder around it.
        """
        files: list[str] = []
        folders: list[str] = []
        _walk(self.root, "", (), files, folders)
        return Listing.of(files, folders, lambda path: read_head(self.root / path))

    def read(self, path: str) -> bytes:
        """Return the content of the file at ``path``.

        Raises:
            ImageError: ``not_found``, ``too_large`` or ``unreadable``, such as a pipe.
        """
        try:
            return read_regular(self.root / path, MAX_BYTES)
        except FileNotFoundError:
            raise ImageError("not_found", f"no such file: {self.root / path}") from None
        except OSError as error:
            code = "too_large" if error.errno in (errno.EFBIG, errno.ENOMEM) else "unreadable"
            raise ImageError(code, f"cannot read {self.root / path}: {error.strerror}") from None

    def below(self, folder: str) -> FolderTree:
        """Return the tree under ``folder``."""
        return FolderTree(self.root / folder)


def _walk(
    folder: Path, prefix: str, around: tuple[tuple[int, int], ...], files: list[str], folders: list[str]
) -> None:
    if len(around) > MAX_DEPTH:
        raise DataError(f"{folder} lies more than {MAX_DEPTH} folders deep; move it up")
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in around:
            raise DataError(f"{folder} is a link to a folder that contains it; remove the link")
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from None
    for name, is_folder in found:
        if is_folder:
            folders.append(prefix + name)
            _walk(folder / name, f"{prefix}{name}/", (*around, identity), files, folders)
        else:
            files.append(prefix + name)
