"""Lists of images, relative to a root: PaddleClas' ``path label`` lines, and ``file,label`` tables."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ghostclas.data.classes import first_few
from ghostclas.data.folder import FolderTree
from ghostclas.data.labels import find_label_file, read_label_file, read_lines, resolve_labels
from ghostclas.data.source import Samples
from ghostclas.errors import DataError
from ghostclas.files import is_file
from ghostclas.spreadsheet import plain

_SHOWN_SIGNS = 200
_COLUMNS = (
    ("file", "path", "image", "filename", "file_name", "image_path", "filepath"),
    ("label", "class", "class_name", "category", "target"),
)
"""What the first row of a table may call the path and the label."""
SEPARATORS = ("\t", " ", ",", ";", "|")
"""Of columns, where the label is not the end of a line; PaddleClas' ``delimiter``."""

LIST_NAMES = {"train": "train_list.txt", "val": "val_list.txt", "test": "test_list.txt"}


@dataclass(frozen=True)
class ListSource:
    """A :class:`~ghostclas.data.source.Source` over a list file.

    Attributes:
        file: the list.
        tree: the files under the root.
        classes: class names by index.
        samples: keys are the paths as the list has them, in its order.
        notes: sentences for the user, such as which images lie elsewhere.
    """

    file: Path
    tree: FolderTree
    classes: tuple[str, ...]
    samples: Samples
    notes: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return str(self.file)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``.

        Raises:
            ImageError: the file is gone or cannot be read.
        """
        return self.tree.read(self.samples.key(range(len(self.samples))[index]))


def open_list(file: Path, root: Path | None = None, label_file: Path | None = None) -> ListSource:
    """Open a list file.

    A line is a path, blanks or one tab, and a label: a class index, or a name (with blanks only after a tab).
    Paths may contain blanks. Lists with another of ``SEPARATORS``, or with more columns, are recognised by
    their first image: their first two columns are read, and a note says so. Multi-label lines (``0,1,0``) are
    refused. Absolute paths are common in lists and are read, as are those that lead out of ``root``; a note
    counts them.

    Args:
        file: UTF-8 text; empty lines do not count.
        root: what the paths are relative to, by default the folder of ``file``.
        label_file: class names by index, see :func:`~ghostclas.data.labels.read_label_file`; by default the
            ``classes.txt`` or ``*label*.txt`` beside ``file``, and without one indices are names.

    Raises:
        DataError: a line that is no path and label, an unknown label, an empty list, or a first image that
            does not exist; the others are looked up when they are read.
    """
    lines = read_lines(file)
    first = next((line for line in lines if line.strip()), "")
    separator = _separator(first, root or file.parent)
    more = separator is not None and first.strip().count(separator) > 1
    notes = (f"{file}: the first two columns are read, the others are left out",) if more else ()
    return _opened(file, _list_rows(file, lines, separator), root, label_file, "'path label' lines", notes)


def open_table(file: Path, root: Path | None = None, label_file: Path | None = None) -> ListSource:
    """Open a table of images: a ``.csv`` with a path and a label in each row.

    Commas separate the cells, or semicolons, which spreadsheets of many countries write. A first row that
    names its columns decides which two are read: ``file`` (also ``path``, ``image``, ``filename``) and
    ``label`` (also ``class``); other columns are ignored. Without such a row there are two columns, the path
    first. An apostrophe in front of a formula is no part of a cell, see :mod:`ghostclas.spreadsheet`.

    Args, errors: as :func:`open_list`.
    """
    return _opened(file, _table_rows(file), root, label_file, "file,label rows")


def _opened(
    file: Path,
    rows: Iterable[tuple[int, str, str]],
    root: Path | None,
    label_file: Path | None,
    expected: str,
    notes: tuple[str, ...] = (),
) -> ListSource:
    root = root or file.parent
    numbers: list[int] = []
    paths: list[str] = []
    labels: list[str] = []
    for number, path, label in rows:
        numbers.append(number)
        paths.append(path)
        labels.append(label)
    if not paths:
        raise DataError(f"{file} lists no image; expected {expected}")
    if not is_file(root / paths[0]):
        raise DataError(
            f"{file}, line {numbers[0]}: there is no file {root / paths[0]}; "
            "say what the paths are relative to: --set data.root=FOLDER when training, else --root FOLDER"
        )
    label_file = label_file or find_label_file(file.parent)
    names = read_label_file(label_file) if label_file else None
    classes, indices = resolve_labels(labels, names, str(file))
    samples = Samples(zip(paths, indices.tolist(), strict=True))
    return ListSource(file, FolderTree(root), classes, samples, (*notes, *elsewhere(file, root, paths)))


def _list_rows(file: Path, lines: Sequence[str], separator: str | None) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = _columns(line, separator)
        if len(parts) != 2 or not all(parts):
            raise DataError(
                f"{file}, line {number}: expected a path and a label but found "
                f"{line.strip()[:_SHOWN_SIGNS]!r}"
            )
        path, label = parts
        if "," in label and label.replace(",", "").isdigit():
            raise DataError(
                f"{file}, line {number}: {label[:_SHOWN_SIGNS]!r} is a multi-label; "
                "one class an image is expected"
            )
        yield number, path, label


def _table_rows(file: Path) -> Iterator[tuple[int, str, str]]:
    lines = read_lines(file)
    first = next((line for line in lines if line.strip()), "")
    table = csv.reader(lines, delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
    columns: tuple[int, int] | None = None
    try:
        for row in table:
            cells = [plain(cell.strip()) for cell in row]
            if not any(cells):
                continue
            if columns is None:
                columns = _named_columns(cells)
                if columns is not None:
                    continue
                columns = (0, 1)
                _check_two(file, table.line_num, cells)
            if max(columns) >= len(cells) or not all(cells[column] for column in columns):
                found = ",".join(row)[:_SHOWN_SIGNS]
                raise DataError(
                    f"{file}, line {table.line_num}: expected a file and a label but found {found!r}"
                )
            yield table.line_num, cells[columns[0]], cells[columns[1]]
    except csv.Error as error:
        raise DataError(f"{file}, line {table.line_num}: not a table: {error}") from None


def _named_columns(cells: Sequence[str]) -> tuple[int, int] | None:
    """Return where a row of names has the path and the label; ``None`` for a row of an image."""
    words = [cell.lower() for cell in cells]
    places = [next((words.index(name) for name in names if name in words), None) for names in _COLUMNS]
    return None if None in places else cast("tuple[int, int]", tuple(places))


def _check_two(file: Path, number: int, cells: Sequence[str]) -> None:
    if len(cells) != len(_COLUMNS):
        raise DataError(
            f"{file}, line {number}: {len(cells)} columns, and no first row that names them; "
            "write file,label there, or leave only these two"
        )


def _separator(line: str, root: Path) -> str | None:
    """Return what separates the columns of a list by its first line; nothing for a path and a label."""
    for separator in (None, *SEPARATORS):
        columns = _columns(line, separator)
        if len(columns) == 2 and all(columns) and is_file(root / columns[0]):
            return separator
    return None


def _columns(line: str, separator: str | None) -> list[str]:
    """Return the path and the label of a line; a line with another number of columns is wrong."""
    text = line.strip()
    if separator is None:
        return [part.strip() for part in (text.split("\t") if "\t" in line else text.rsplit(maxsplit=1))]
    path, *rest = (part.strip() for part in text.split(separator))
    several = separator == "," and len(rest) > 1 and all(part.isdigit() for part in rest)
    return [path, ",".join(rest)] if several else [path, *rest[:1]]


def elsewhere(file: Path, root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return a note that counts the ``paths`` of the list ``file`` that lead out of ``root``, if any do."""
    within = os.path.join(os.path.abspath(root), "")  # noqa: PTH100, PTH118 - Path leaves ".." in place
    out = [path for path in paths if _leaves(path, within)]
    if not out:
        return ()
    images = f"{len(out):,} of {len(paths):,} images lie" if len(out) != 1 else "1 image lies"
    return (f"{file}: {images} outside {root}: {first_few(map(repr, out))}",)


def _leaves(path: str, within: str) -> bool:
    # Hardly one path of a million has to be taken apart.
    if ".." not in path and not os.path.isabs(path):  # noqa: PTH117
        return False
    return not os.path.normpath(os.path.join(within, path)).startswith(within)  # noqa: PTH118
