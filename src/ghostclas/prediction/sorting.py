"""Photos put into folders by their labels, and back again.

``sort_photos`` makes a folder a label, and ``unsure`` for photos whose label is not certain enough. It copies
unless it is told to move or to link, and never replaces a file. What it does is in ``sorted.csv`` before it
is done, so ``undo_sorting`` can take back all of it, even after a kill.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast, get_args

from ghostclas.errors import UsageError
from ghostclas.files import (
    LockedError,
    check_folder,
    is_folder,
    lock,
    read_regular,
    sweep_drafts,
    write_bytes,
)
from ghostclas.prediction.folder_names import folder_names
from ghostclas.prediction.placing import How, place, same_content
from ghostclas.progress import Progress
from ghostclas.spec import Prediction
from ghostclas.spreadsheet import inert, plain

LIST = "sorted.csv"
UNSURE = "unsure"
MIN_SCORE = 0.5
"""A label that is more likely wrong than right is no certain one."""

_HEADER = ("from", "to", "how")
_TOGETHER = 64
"""So many rows are written and flushed before their photos are placed."""
_MAX_LIST = 2 << 30
_LONGEST_NAME = 200
_LOCK = ".sorting.lock"


class Row(NamedTuple):
    """One line of the list: the absolute path of a photo, and its place below the list's folder."""

    source: str
    target: str
    how: How


@dataclass
class Sorting:
    """The result of :func:`sort_photos`."""

    record: Path
    """the list, ``sorted.csv``"""
    how: How
    placed: dict[Path, Path] = field(default_factory=dict)
    """the photos, as they were named, and where each is now, or its copy or link"""
    folders: Counter[str] = field(default_factory=Counter)
    """photos placed now, by the name of their folder"""
    already: int = 0
    """photos that an earlier run has placed"""
    unread: int = 0
    """photos without a label, which stay where they are"""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """photos that could not be placed, and why; they are where they were"""


@dataclass
class Undoing:
    """The result of :func:`undo_sorting`."""

    undone: int = 0
    kept: list[tuple[str, str]] = field(default_factory=list)
    """files that stay as they are, and why; they stay in the list, too"""


def sort_photos(
    answers: Iterable[tuple[Path, Prediction]],
    folder: str | os.PathLike[str],
    classes: Sequence[str],
    *,
    how: How = "copy",
    min_score: float = MIN_SCORE,
    progress: Progress | None = None,
) -> Sorting:
    """Put photos into ``folder/<label>/``, under their own names or, if those are taken, numbered ones.

    Args:
        answers: the path of each photo and its prediction. Those with an error stay where they are.
        folder: made if absent. Files in it stay as they are.
        classes: the model's class names; :func:`folder_names` makes names of folders from them.
        how: ``copy``, ``move``, or ``link``: symbolic links to the photos.
        min_score: photos whose best score is lower, and unknown ones, go to ``unsure``.
        progress: called with the number of photos done.

    Raises:
        UsageError: the folder cannot be written, or another process sorts into it. What was placed is listed.
    """
    check_sorting(folder, how=how, min_score=min_score)
    root = Path(folder)
    names = folder_names(classes, taken=(UNSURE, LIST))
    with _held(root):
        sorting = Sorting(root / LIST, how)
        plan = _Plan(root, sorting)
        chosen = (
            (path, UNSURE if _is_unsure(prediction, min_score) else names[prediction.top[0].index])
            for path, prediction in _with_labels(answers, sorting)
        )
        done = 0
        while part := list(islice(chosen, _TOGETHER)):
            plan.place(part)
            done += len(part)
            if progress:
                progress(done, None)
        if progress and done:
            progress(done, done)
    return sorting


def check_sorting(folder: str | os.PathLike[str], *, how: How = "copy", min_score: float = MIN_SCORE) -> None:
    """Raise before the photos are labelled what sorting them would raise after it.

    Raises:
        UsageError: a setting means nothing, the folder cannot be written, is a gallery, a training run or a
            bundle, or has a damaged list.
    """
    from ghostclas.data.filenames import own_output

    if how not in get_args(How):
        raise UsageError(f"photos are sorted by {', '.join(get_args(How))}, not {how!r}")
    if not 0 <= min_score <= 1:
        raise UsageError(f"the least score lies between 0 and 1, got {min_score:g}")
    check_folder(folder, option="--sort")
    if (listed := Path(folder) / LIST).exists():
        read_rows(listed)
    elif (what := own_output(os.fspath(folder), os.path.exists)) and what != "predictions":
        # Predictions leave a folder to others; these would be refused or replaced with strangers in them.
        raise UsageError(f"{folder} holds {what}; name another folder with --sort")


def undo_sorting(path: str | os.PathLike[str]) -> Undoing:
    """Take back what a list says was done: the last first, never over a file, nothing that was changed.

    Moved photos go back to where they were. Copies and links are removed while the photo that they came from
    is still there, the copies only if they still have its bytes. Empty folders of labels are removed. A list
    of which nothing is left is removed, too, and so is its folder if it is empty then.

    Args:
        path: ``sorted.csv``, or the folder that it is in. The folder may have been moved since.

    Raises:
        UsageError: there is no list, or it is no list of this kind; nothing is changed then.
    """
    file = Path(path) / LIST if is_folder(path) else Path(path)
    if not file.is_file():
        raise UsageError(f"there is nothing to take back in {path}: no {LIST} is there")
    with _held(file.parent):
        rows = read_rows(file)
        undoing, left = Undoing(), []
        for row in reversed(rows):
            was_there = os.path.lexists(file.parent / row.target)
            why = _undo(row, file.parent)
            if why is not None:
                undoing.kept.append((row.target, why))
                left.append(row)
            elif was_there:
                undoing.undone += 1
        try:
            for folder in _folders(rows, file.parent):
                with suppress(OSError):
                    folder.rmdir()
            if left:
                write_bytes(file, _encoded([_HEADER, *map(_cells, reversed(left))]))
            else:
                file.unlink()
        except OSError as error:
            raise _cannot_write(file, error) from None
    if not left:
        with suppress(OSError):
            file.parent.rmdir()
    return undoing


def holds_doubles(folder: Path, root: Path) -> bool:
    """Whether photos were sorted into ``folder`` whose originals are still below ``root``.

    The first rows of the list decide, as many as :func:`~ghostclas.data.filenames.read_head` reads.
    """
    from ghostclas.data.filenames import read_head

    head = os.fsdecode(read_head(folder / LIST))
    lines = csv.reader(io.StringIO(head, newline=""))
    below = os.path.join(os.path.abspath(root), "")  # noqa: PTH100, PTH118  # as a list names photos
    try:
        if tuple(next(lines, ())) != _HEADER:
            return False
        rows = [row for row in map(_row, lines) if row]
    except csv.Error:
        return False
    return any(row.source.startswith(below) and Path(row.source).is_file() for row in rows)


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a list; one that a kill cut off at the end is left out, as nothing was done for it.

    Raises:
        UsageError: it cannot be read, or is no list of sorted photos.
    """
    try:
        text = os.fsdecode(read_regular(file, _MAX_LIST))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    rows: list[Row] = []
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if tuple(next(lines, ())) != _HEADER:
            raise UsageError(
                f"{file} is no list of sorted photos: it does not begin with {','.join(_HEADER)}"
            )
        for number, cells in enumerate(lines, 2):
            if row := _row(cells):
                rows.append(row)
            elif next(lines, None) is not None:
                raise UsageError(f"row {number} of {file} is not what --sort writes; nothing was changed")
    except csv.Error as error:
        # The reader's words for a quote that is open at the end.
        if "unexpected end" not in str(error):
            raise UsageError(f"{file} is damaged ({error}); nothing was changed") from None
    return rows


class _Plan:
    """The rows of a list and the names in its folders; it places photos, and lists each before it does."""

    def __init__(self, root: Path, sorting: Sorting) -> None:
        self._root = root
        self._sorting = sorting
        self._seen: set[str] = set()
        self._taken: set[tuple[str, str]] = set()
        self._numbers: Counter[tuple[str, str]] = Counter()
        try:
            rows = read_rows(sorting.record) if sorting.record.exists() else []
            # Also cuts off what a kill left of a row.
            write_bytes(sorting.record, _encoded([_HEADER, *map(_cells, rows)]))
            _folders(rows, root)
        except OSError as error:
            raise _cannot_write(sorting.record, error) from None
        self._done = {row.source: root / row.target for row in rows if _is_done(row, root)}

    def place(self, photos: Iterable[tuple[Path, str]]) -> None:
        """Place photos in the folders named beside them."""
        planned: list[tuple[Path, Row]] = []
        for path, folder in photos:
            source = os.path.abspath(path)  # noqa: PTH100  # a link in the path stays one
            if source in self._seen:
                continue
            self._seen.add(source)
            if source in self._done:
                self._sorting.already += 1
                self._sorting.placed[path] = self._done[source]
            elif self._sorting.how == "move" and path.is_symlink():
                self._sorting.failed.append((path, "it is a link, which would break if it were moved"))
            elif not path.is_file():
                self._sorting.failed.append((path, "it is no longer there"))
            else:
                planned.append((path, Row(source, self._free(folder, path.name), self._sorting.how)))
        self._record(row for _, row in planned)
        for path, row in planned:
            self._place(path, row)

    def _place(self, path: Path, row: Row) -> None:
        folder = (self._root / row.target).parent
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            self._sorting.failed.append((path, f"{folder} is a file, and no folder of a label"))
            return
        except OSError as error:
            self._sorting.failed.append((path, f"{folder} cannot be made: {error.strerror}"))
            return
        while True:
            target = self._root / row.target
            try:
                place(path, target, row.how)
            except FileExistsError:
                # Another program has taken the name meanwhile, or the disk takes two names for one.
                row = row._replace(target=self._free(target.parent.name, path.name))
                self._record([row])
                continue
            except OSError as error:
                self._sorting.failed.append((path, error.strerror or str(error)))
                return
            self._sorting.placed[path] = target
            self._sorting.folders[target.parent.name] += 1
            return

    def _free(self, folder: str, name: str) -> str:
        """Return ``folder/name`` if nothing has this path or will get it, else with a number."""
        key = (folder, name.casefold())
        while True:
            self._numbers[key] += 1
            numbered = _numbered(name, self._numbers[key])
            if (folder, numbered.casefold()) in self._taken or os.path.lexists(
                self._root / folder / numbered
            ):
                continue
            self._taken.add((folder, numbered.casefold()))
            return f"{folder}/{numbered}"

    def _record(self, rows: Iterable[Row]) -> None:
        """Append rows to the list and flush it to the disk."""
        content = _encoded(map(_cells, rows))
        try:
            with self._sorting.record.open("ab", buffering=0) as file:
                file.write(content)
                os.fsync(file.fileno())
        except OSError as error:
            raise _cannot_write(self._sorting.record, error) from None


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  # exact, whatever the name
    mark = f" ({number})" if number > 1 else ""
    if mark and len(os.fsencode(name)) > _LONGEST_NAME:
        stem = os.fsdecode(os.fsencode(stem)[:_LONGEST_NAME])
    return f"{stem}{mark}{suffix}"


def _with_labels(
    answers: Iterable[tuple[Path, Prediction]], sorting: Sorting
) -> Iterator[tuple[Path, Prediction]]:
    for path, prediction in answers:
        if prediction.top:
            yield path, prediction
        else:
            sorting.unread += 1


def _is_unsure(prediction: Prediction, min_score: float) -> bool:
    return prediction.unknown or prediction.top[0].score < min_score


def _folders(rows: Iterable[Row], root: Path) -> list[Path]:
    """Return the folders of the rows, and remove what a kill left half-written in them."""
    folders = [root / name for name in sorted({Path(row.target).parts[0] for row in rows})]
    for folder in folders:
        sweep_drafts(folder)
    return folders


def _is_done(row: Row, root: Path) -> bool:
    target = root / row.target
    if not os.path.lexists(target):
        return False
    # Where a disk has no hard links, a kill can leave an empty file in place of the photo.
    return target.is_symlink() or target.stat().st_size > 0 or not Path(row.source).is_file()


def _undo(row: Row, root: Path) -> str | None:
    """Take back one row; return ``None`` if that is done, else why the file stays as it is."""
    source, target = Path(row.source), root / row.target
    if not os.path.lexists(target):
        there = os.path.lexists(source) or row.how == "link"
        return None if there else f"it is neither there nor at {source}"
    try:
        return {"copy": _undo_copy, "link": _undo_link, "move": _undo_move}[row.how](source, target)
    except FileExistsError:
        return f"something else is at {source} now"
    except OSError as error:
        return error.strerror or str(error)


def _undo_move(source: Path, target: Path) -> str | None:
    if target.is_symlink():
        return "it is a link now"
    if not os.path.lexists(source):
        source.parent.mkdir(parents=True, exist_ok=True)
        place(target, source, "move")
    elif _is_rest(source, target) or (not _a_link(source, target) and source.samefile(target)):
        target.unlink()
    else:
        return f"something else is at {source} now"
    return None


def _undo_copy(source: Path, target: Path) -> str | None:
    if not source.is_file():
        return f"{source} is gone, and this is its copy"
    if _a_link(source, target) or source.samefile(target):
        return f"it is the same file as {source}"
    if not _is_rest(source, target) and not same_content(source, target):
        return f"it is no longer the same as {source}"
    target.unlink()
    return None


def _undo_link(source: Path, target: Path) -> str | None:
    linked = target.is_symlink() and os.path.abspath(target.readlink()) == str(source)  # noqa: PTH100
    if not linked and (_a_link(source, target) or not (source.is_file() and source.samefile(target))):
        return "it is no longer the link that was made"
    target.unlink()
    return None


def _a_link(source: Path, target: Path) -> bool:
    """Whether one path is a link: then it may be the other, and have no bytes of its own."""
    return source.is_symlink() or target.is_symlink()


def _is_rest(source: Path, target: Path) -> bool:
    """Whether the target is the empty file that a kill left, and the photo is where it was."""
    return not _a_link(source, target) and target.stat().st_size == 0 and source.stat().st_size > 0


def _row(cells: Sequence[str]) -> Row | None:
    """Return what a line of the list says, unless no sorting wrote it: a target is a file in a folder."""
    if len(cells) != len(_HEADER):
        return None
    source, target, how = plain(cells[0]), plain(cells[1]), cells[2]
    parts = Path(target).parts
    safe = len(parts) == 2 and ".." not in parts and not Path(target).anchor
    if how not in get_args(How) or not safe or not Path(source).is_absolute():
        return None
    return Row(source, target, cast("How", how))


def _cells(row: Row) -> tuple[str, ...]:
    return inert(row.source), inert(row.target), row.how


def _encoded(rows: Iterable[Sequence[str]]) -> bytes:
    """Return lines of CSV, every cell in quotes, in the bytes that the system has for names of files."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return os.fsencode(text.getvalue())


@contextmanager
def _held(root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        held = lock(root / _LOCK)
    except LockedError as error:
        raise UsageError(f"{root} is being sorted: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot write to {root}: {error.strerror}") from None
    with held:
        yield


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write {path}: {error.strerror}; make room, then give the same command again: photos that "
        "are placed stay where they are"
    )
