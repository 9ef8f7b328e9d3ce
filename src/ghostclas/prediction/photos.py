"""Finding photos: which image files a path, a folder or a pattern names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

Sortable = TypeVar("Sortable", str, tuple[str, bool])

SORTED_TOGETHER = 10_000
"""How many entries of a folder are read and sorted before the first of them is labelled."""

UNREAD_EXTENSIONS = frozenset({".heic", ".heif", ".jp2", ".jxl"})
"""Photos that are not decoded here: who has them in a folder is told so instead of missing them."""


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Yield the images that ``paths`` name, lazily and in a stable order.

    A file stands for itself whatever its name; a folder for the images below it (by extension, hidden
    ones left out), sorted by name, folder by folder; a pattern with ``*``, ``?`` or ``[`` that is no file for
    what it matches, sorted. What does not exist or cannot be read is yielded as it is, so that it gets
    its own error in its place.

    Of a folder or a pattern with more than ``SORTED_TOGETHER`` entries, so many at a time are read and
    sorted, in the order in which the file system lists them: the first image of a million comes at once, and
    a folder that nobody changes gives the same order again.
    """
    for path in paths:
        text = os.fspath(path)
        if Path(text).is_dir():
            from ghostclas.data.tree import IMAGE_EXTENSIONS

            yield from _walk(Path(text), IMAGE_EXTENSIONS | UNREAD_EXTENSIONS)
        elif any(mark in text for mark in "*?[") and not Path(text).exists():
            from glob import iglob

            # Path.glob takes no absolute pattern.
            matches = _sorted_in_parts(iglob(text, recursive=True))  # noqa: PTH207
            first = next(matches, None)
            yield from [Path(text)] if first is None else find_images(chain([first], matches))
        else:
            yield Path(text)


def _walk(
    folder: Path, extensions: Set[str], above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Path]:
    # Links to folders are followed, as data sets are made of them, but not into a folder they lie in.
    try:
        here = folder.stat()
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            return
        with os.scandir(folder) as entries:
            found = (
                (entry.name, is_folder)
                for entry in entries
                if entry.name[0] != "."
                and ((is_folder := entry.is_dir()) or Path(entry.name).suffix.lower() in extensions)
            )
            for name, is_folder in _sorted_in_parts(found):
                if is_folder:
                    yield from _walk(folder / name, extensions, above | {identity})
                else:
                    yield folder / name
    except OSError:
        yield folder


def count_images(paths: Sequence[str | os.PathLike[str]]) -> int:
    """Return how many images ``find_images`` yields now; it reads folders, and no image."""
    return sum(1 for _ in find_images(paths))


def _sorted_in_parts(items: Iterable[Sortable]) -> Iterator[Sortable]:
    """Yield the items sorted, ``SORTED_TOGETHER`` at a time."""
    items = iter(items)
    while part := sorted(islice(items, SORTED_TOGETHER)):
        yield from part
