"""Photos of a folder or of a ``.zip`` under the names that they have there, for an index of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ghostclas.errors import ImageError, UsageError
from ghostclas.files import is_file, is_folder, read_regular
from ghostclas.imaging import MAX_BYTES, ImageSource
from ghostclas.prediction.photos import find_images
from ghostclas.spec import PredictionError

if TYPE_CHECKING:
    from ghostclas.data.zipped import ZipTree

ZIP = ".zip"


class StoredPhotos(Protocol):
    """Photos by their names, relative and with ``/``, in a stable order."""

    @property
    def folder(self) -> Path:
        """What stands before a name, so that the path tells people where the photo is."""

    @property
    def stamps(self) -> Mapping[str, tuple[int, int]]:
        """What changes with the content of each photo: two whole numbers."""

    def open(self, names: Iterable[str]) -> Iterator[ImageSource]:
        """Yield the photos of these names, lazily."""

    def error(self, name: str) -> PredictionError | None:
        """Why a photo that was yielded could not be had, if so."""


def open_photos(path: str | os.PathLike[str]) -> StoredPhotos:
    """Find the photos of a folder, at any depth, or of a ``.zip``.

    Raises:
        UsageError: it is neither.
        DataError: the archive cannot be read.
    """
    root = Path(path)
    if is_folder(root):
        return _Folder(root)
    if root.suffix.lower() == ZIP and is_file(root):
        return _Archive(root)
    raise UsageError(f"{root} is no folder of photos, and no .zip of them")


def read_photo(file: str) -> bytes:
    """Return the content of a photo by its path, which may lead into a ``.zip``.

    Raises:
        ImageError, DataError, OSError: it cannot be read.
    """
    path = Path(file)
    for parent in path.parents:
        if parent.suffix.lower() == ZIP and is_file(parent):
            from ghostclas.data.zipped import ZipTree

            tree = ZipTree(parent)
            try:
                return tree.read(path.relative_to(parent).as_posix())
            finally:
                tree.close()
    return read_regular(path, MAX_BYTES)


class _Folder:
    def __init__(self, root: Path) -> None:
        self.folder = root
        self._found = {path.relative_to(root).as_posix(): path for path in find_images([root], literal=True)}
        self.stamps = {name: _stamp(path) for name, path in self._found.items()}

    def open(self, names: Iterable[str]) -> Iterator[ImageSource]:
        return (self._found[name] for name in names)

    def error(self, name: str) -> PredictionError | None:
        """Return nothing: the one that decodes a file says what is wrong with it."""


class _Archive:
    def __init__(self, path: Path) -> None:
        # Importing ``data`` takes longer than labelling one photo.
        from ghostclas.data.storage import SPLIT_NAMES
        from ghostclas.data.zipped import ZipTree, enter

        whole = ZipTree(path)
        tree, listing = enter(whole, whole.walk(), frozenset(SPLIT_NAMES))
        self._tree: ZipTree = tree
        self._errors: dict[str, PredictionError] = {}
        self.folder = Path(tree.location)
        self.stamps = {name: tree.stamp(name) for name in listing.images}

    def open(self, names: Iterable[str]) -> Iterator[ImageSource]:
        for name in names:
            content = b""
            try:
                content = self._tree.read(name)
            except ImageError as error:
                self._errors[name] = PredictionError(code=error.code, message=str(error))
            yield content

    def error(self, name: str) -> PredictionError | None:
        return self._errors.get(name)


def _stamp(path: Path) -> tuple[int, int]:
    """Return the size of a file and its time of change in nanoseconds."""
    with suppress(OSError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return -1, -1
