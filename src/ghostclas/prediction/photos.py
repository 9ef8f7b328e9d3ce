"""The search for photos: the image files that a path, a folder, a pattern or a list names."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from ghostclas.errors import UsageError
from ghostclas.files import is_folder, is_there
from ghostclas.prediction.sorting import holds_doubles

Sortable = TypeVar("Sortable", str, tuple[str, bool])

MAX_DEPTH = 100
"""The most folders within each other; one that lies deeper is yielded itself, so that it gets an error."""

MAX_PARTS = 200
"""The most names of a pattern, which are looked for one within the other."""

SORTED_TOGETHER = 10_000
"""Entries of a folder that are read and sorted together, before the first of them is labelled."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find_images(
    paths: Iterable[str | os.PathLike[str]],
    *,
    literal: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[Path]:
    """Yield the images that ``paths`` name, lazily and in a stable order.

    A file gives itself, whatever its name. A folder gives the images below it, sorted by name, folder by
    folder. A pattern with ``*``, ``?`` or ``[`` that is no file gives its matches, sorted. A missing or
    unreadable path, or a pattern of over ``MAX_PARTS`` names, is yielded as it is, so that it gets its own
    error in its place.

    The images of a folder are those that training takes (:mod:`ghostclas.data.filenames`). Photos in formats
    that are not supported, such as HEIC, are yielded too, so that they get an error. A folder
    in it into which ``predict --sort`` copied or linked some of its photos is passed over.

    Larger folders and patterns are read and sorted in parts of ``SORTED_TOGETHER`` entries, in the order of
    the file system. The first of a million images therefore comes at once, and an unchanged folder gives the
    same order again.

    Args:
        paths: files, folders and patterns.
        literal: treat no path as a pattern, as in a list of files.
        left_out: counts the files of folders that are no images, by kind.
    """
    left_out = Counter() if left_out is None else left_out
    for path in paths:
        text = os.fspath(path)
        if literal or not any(mark in text for mark in "*?[") or is_there(text):
            yield from _in_path(Path(text), left_out)
            continue
        if len(Path(text).parts) > MAX_PARTS:
            yield Path(text)
            continue
        from glob import iglob

        # Path.glob takes no absolute pattern.
        matches = _sorted_in_parts(iglob(text, recursive=True))  # noqa: PTH207
        first = next(matches, None)
        if first is None:
            yield Path(text)
            continue
        # A match is a path and no pattern, even if its name holds a special character.
        yield from _in_path(Path(first), left_out)
        for match in matches:
            yield from _in_path(Path(match), left_out)


def count_images(paths: Sequence[str | os.PathLike[str]]) -> int:
    """Return the number of images that ``find_images`` yields now; it reads folders, and no image."""
    return sum(1 for _ in find_images(paths))


def read_list(lines: BinaryIO) -> Iterator[str]:
    """Yield the paths of a list, one a line, lazily; empty lines and a byte order mark are skipped.

    Raises:
        UsageError: the list is UTF-16.
    """
    for number, line in enumerate(lines):
        if number == 0:
            if line.startswith(_UTF16):
                raise UsageError("the list is UTF-16 text; write it as UTF-8")
            line = line.removeprefix(codecs.BOM_UTF8)
        if name := line.rstrip(b"\r\n"):
            yield os.fsdecode(name)


def _in_path(path: Path, left_out: Counter[str]) -> Iterator[Path]:
    if is_folder(path):
        yield from _walk(path, path, left_out)
    else:
        yield path


def _walk(
    folder: Path,
    root: Path,
    left_out: Counter[str],
    above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[Path]:
    # Data sets use links to folders, so links are followed, but not into a folder that holds the link.
    try:
        here = folder.stat()
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            return
        if len(above) >= MAX_DEPTH:
            yield folder
            return
        with os.scandir(folder) as entries:
            for name, is_folder in _sorted_in_parts(_photos_and_folders(folder, root, entries, left_out)):
                if is_folder:
                    yield from _walk(folder / name, root, left_out, above | {identity})
                else:
                    yield folder / name
    except OSError:
        yield folder


def _photos_and_folders(
    folder: Path, root: Path, entries: Iterable[os.DirEntry[str]], left_out: Counter[str]
) -> Iterator[tuple[str, bool]]:
    from ghostclas.data.filenames import UNREAD_PHOTOS, is_hidden, other_kind, own_output, read_head

    for entry in entries:
        name = entry.name
        if is_hidden(name):
            continue
        if entry.is_dir():
            if not own_output(entry.path, os.path.exists) and not holds_doubles(Path(entry.path), root):
                yield name, True
            continue
        kind = other_kind(name, partial(read_head, folder / name))
        if kind is None or kind in UNREAD_PHOTOS:
            yield name, False
        else:
            left_out[kind] += 1


def _sorted_in_parts(items: Iterable[Sortable]) -> Iterator[Sortable]:
    """Yield the items sorted, ``SORTED_TOGETHER`` at a time."""
    items = iter(items)
    while part := sorted(islice(items, SORTED_TOGETHER)):
        yield from part
