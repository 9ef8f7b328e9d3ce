"""Labels written as text, numbers or names, and the label files that go with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostclas.data.classes import check_distinct, distinct_names, first_few
from ghostclas.errors import DataError
from ghostclas.files import read_regular, write_text

MAX_LIST_BYTES = 1 << 30
"""The largest list that is read: one of the 14 million images of ImageNet takes half of it."""

MAX_UNNAMED_CLASSES = 1000
SPARSE = 10
"""Numeric labels are refused if they make over 1000 classes, fewer than a tenth of them with images."""

_NUMBERED = re.compile(r"(\d{1,9})\s+(\S.*)", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


def read_lines(path: Path, *, or_gbk: bool = False) -> list[str]:
    """Return the lines of a UTF-8 text file, without their ends; ``or_gbk`` takes GBK, too.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        content = read_regular(path, MAX_LIST_BYTES)
        if b"\0" in content:
            raise DataError(f"{path} is not UTF-8 text: it holds null bytes")
        text = _decoded(content, or_gbk).replace("\r\n", "\n").replace("\r", "\n")
        # Not splitlines: file names may hold the other line separators of Unicode.
        return text.removesuffix("\n").split("\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from None
    except MemoryError:
        raise DataError(f"cannot read {path}: it does not fit into memory") from None


def _decoded(content: bytes, or_gbk: bool) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if or_gbk:
            try:
                return content.decode("gbk")
            except UnicodeDecodeError:
                pass
        raise error from None


def read_label_file(path: Path) -> tuple[str, ...]:
    """Read class names by index: ``0 tench, Tinca tinca`` or just ``tench, Tinca tinca`` on each line.

    The text is in UTF-8, or in GBK, as PaddleClas' class maps may be.
    Lines count as numbered if their numbers are exactly 0 to n - 1, in any order. Names that occur twice get
    their number appended.

    Raises:
        DataError: unreadable or without any name.
    """
    lines = [line.strip() for line in read_lines(path, or_gbk=True) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty; expected one class name a line")
    matches = [match for line in lines if (match := _NUMBERED.fullmatch(line))]
    numbered = {int(match[1]): match[2] for match in matches}
    if len(matches) != len(lines) or sorted(numbered) != list(range(len(lines))):
        numbered = dict(enumerate(lines))
    names = distinct_names({str(index): name for index, name in numbered.items()})
    classes = tuple(names[str(index)] for index in range(len(lines)))
    check_distinct(classes, str(path))
    return classes


def write_label_file(path: Path, classes: Sequence[str]) -> None:
    """Write class names as numbered lines, in one step.

    Raises:
        DataError: a name holds a line break.
    """
    broken = [name for name in classes if len(name.splitlines()) != 1 or name != name.strip()]
    if broken:
        raise DataError(f"the class {broken[0]!r} cannot be a line of a label file; rename it")
    write_text(path, "".join(f"{index} {name}\n" for index, name in enumerate(classes)))


def find_label_file(folder: Path) -> Path | None:
    """Return the label file in ``folder``: ``classes.txt`` or the one ``*label*.txt``.

    Raises:
        DataError: several could be meant.
    """
    found = sorted({*folder.glob("classes.txt"), *folder.glob("*label*.txt")})
    if len(found) > 1:
        names = first_few(path.name for path in found)
        raise DataError(f"several files in {folder} could name the classes: {names}; keep one")
    return found[0] if found else None


def resolve_labels(
    labels: Sequence[str], names: Sequence[str] | None, location: str
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Turn written labels into class names and indices.

    Numbers are indices into ``names`` (without names, a class is called by its number, and they go from 0 to
    the largest, unless most of these have no image). Anything else is a name; without ``names`` the classes
    are in code point order.

    Returns:
        The class names, and int32 ``[N]``.

    Raises:
        DataError: a number beyond ``names``, a name that is not one of them, or numbers that are no indices.
    """
    distinct = set(labels)
    index: Mapping[str, int]
    if all(_NUMBER.fullmatch(label) for label in distinct):
        index = {label: int(label) for label in distinct}
        count = max(index.values(), default=-1) + 1
        if names is None and count > max(MAX_UNNAMED_CLASSES, SPARSE * len(distinct)):
            raise DataError(
                f"{location} uses the label {count - 1}, but only {len(distinct):,} different labels: "
                f"as indices they would make {count:,} classes\n"
                "       number the classes from 0, write names instead, or name all of them in a label file"
            )
        classes = tuple(names) if names is not None else tuple(map(str, range(count)))
        beyond = sorted(i for i in index.values() if i >= len(classes))
        if beyond:
            raise DataError(
                f"{location} uses label {beyond[0]}, but there are {len(classes)} class names (from 0)"
            )
    else:
        classes = tuple(names) if names is not None else tuple(sorted(distinct))
        index = {name: i for i, name in enumerate(classes)}
        unknown = sorted(distinct - index.keys())
        if unknown:
            raise DataError(
                f"{location} uses labels that are no class names: {first_few(map(repr, unknown))}"
            )
    return classes, np.fromiter((index[label] for label in labels), dtype=np.int32, count=len(labels))
