"""Class names: reading them, and comparing two lists of them."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ghostclas.errors import DataError
from ghostclas.spreadsheet import plain

CLASSES_FILE = "classes.csv"
MAX_CLASSES_BYTES = 16 * 2**20
"""Of a ``classes.csv``: that of ImageNet-21k has one."""
_SHOWN = 5
_SHOWN_SIGNS = 200


def read_names(content: bytes, location: str) -> dict[str, str]:
    """Read a ``classes.csv``: one ``folder,name`` row a class, UTF-8, with or without a header row.

    Where several folders share a name (ImageNet has two kinds of crane), the folder is appended:
    ``crane (n02012849)``. The whole table decides this, so a split with only one of them agrees.

    An apostrophe that keeps a spreadsheet from taking a name for a formula is no part of it: ``'-5`` is
    ``-5``.

    Raises:
        DataError: not UTF-8 text, a row without a name, or a folder with two different names.
    """
    if len(content) > MAX_CLASSES_BYTES:
        raise DataError(
            f"{location} has {len(content):,} bytes; a table of classes has at most {MAX_CLASSES_BYTES:,}"
        )
    names: dict[str, str] = {}
    for number, row in _rows(content, location):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            found = ",".join(row)[:_SHOWN_SIGNS]
            raise DataError(f"{location}, line {number}: expected folder,name but found {found!r}")
        folder, name = plain(row[0].strip()), plain(" ".join(row[1].split()))
        if names.setdefault(folder, name) != name:
            raise DataError(
                f"{location}, line {number}: folder {folder!r} is named both {names[folder]!r} and {name!r}"
            )
    return distinct_names(names)


def _rows(content: bytes, location: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, each with its number."""
    try:
        text = content.decode("utf-8-sig")
        yield from enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{location} is not a UTF-8 table of folder,name rows: {error}") from None


def distinct_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return ``names`` with the key appended to each name that occurs twice: ``crane (n02012849)``."""
    times = Counter(names.values())
    return {key: f"{name} ({key})" if times[name] > 1 else name for key, name in names.items()}


def class_names(folders: Sequence[str], names: Mapping[str, str], location: str) -> tuple[str, ...]:
    """Return the name of each class folder, in the order of ``folders``.

    A folder that ``names`` does not mention is its own name. Names are in Unicode NFC, so that a folder
    copied through macOS stays the same class.

    Raises:
        DataError: a folder whose name is not Unicode, or two classes with one name.
    """
    for folder in folders:
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{location}: the class folder {folder!r} is not named in UTF-8; rename it"
            ) from None
    classes = tuple(unicodedata.normalize("NFC", names.get(folder, folder)) for folder in folders)
    check_distinct(classes, location)
    return classes


def check_distinct(classes: Sequence[str], location: str) -> None:
    """Refuse a list of classes in which a name occurs twice.

    Raises:
        DataError: naming the repeated ones.
    """
    repeated = [name for name, times in Counter(classes).items() if times > 1]
    if repeated:
        raise DataError(f"{location}: several classes have the same name: {first_few(map(repr, repeated))}")


def match_classes(
    reference: Sequence[str],
    given: Sequence[str],
    *,
    reference_name: str,
    given_name: str,
    between: str,
    advice: str,
) -> list[int]:
    """Return, for each of the ``given`` classes, its index among the ``reference`` ones.

    ``given`` may lack classes of the reference; it may not have others.

    Args:
        reference: class names whose order decides.
        given: class names to look up.
        reference_name: what the reference is called in the message, "the model".
        given_name: what the other is called, "the data".
        between: the pair in the message's first line, "the model and runs/cats/val".
        advice: the message's last line.

    Raises:
        DataError: some given names are unknown; the message lists what is only here and only there.
    """
    index = {name: i for i, name in enumerate(reference)}
    unknown = [(i, name) for i, name in enumerate(given) if name not in index]
    if not unknown:
        return [index[name] for name in given]
    present = set(given)
    absent = [(i, name) for i, name in enumerate(reference) if name not in present]
    titles = [f"only in {reference_name}:", f"only in {given_name}:"]
    width = max(map(len, titles))
    lines = [f"class names differ between {between}"]
    for title, classes in zip(titles, (absent, unknown), strict=True):
        listed = first_few(f"{name!r} (class {i})" for i, name in classes) if classes else "none"
        lines.append(f"{title:<{width}} {listed}")
    lines.append(advice)
    raise DataError("\n       ".join(lines))


def first_few(items: Iterable[str]) -> str:
    """Join the first few of ``items`` for a message, and count the others."""
    listed = [item if len(item) <= _SHOWN_SIGNS else f"{item[:_SHOWN_SIGNS]}..." for item in items]
    rest = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
