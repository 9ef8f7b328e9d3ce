"""The kinds of data sets: recognising the one at a path, and opening its splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ghostclas.data.classes import CLASSES_FILE, MAX_CLASSES_BYTES, first_few, read_names
from ghostclas.data.filenames import OUTPUT_FOLDER, is_hidden
from ghostclas.data.folder import FolderTree
from ghostclas.data.labels import find_label_file
from ghostclas.data.listfile import LIST_NAMES, open_list, open_table
from ghostclas.data.parquet import open_parquet
from ghostclas.data.shards import expand_braces, open_shards
from ghostclas.data.source import Source
from ghostclas.data.tree import Listing, Tree, labelled
from ghostclas.data.zipped import ZipTree, enter
from ghostclas.errors import DataError, refuse_url
from ghostclas.files import is_file, is_folder, is_there, read_regular

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
WHOLE = ""

_SPLIT_IN_NAME = re.compile(rf"(?:^|[-_.])({'|'.join(SPLIT_NAMES)})(?=[-_.\d]|$)", re.IGNORECASE)
_LIKE_A_PART = re.compile(
    r"dev|development|eval\w*|hold-?_?out|un-?_?lab\w*|un-?_?sup\w*|extra|pool"
    r"|(train|val|valid|validation|test)([-_ .\d].*|set|data|images)?",
    re.IGNORECASE,
)
_HEADERS = {"name", "names", "class", "class_name", "label", "words"}
_EXPECTED = (
    "expected a folder with one subfolder of images for each class, the same in a .zip, "
    "a list (.txt or .csv), shards (.tar) or .parquet files"
)

OpenFiles = Callable[[Sequence[Path], str, Path | None], Source]
"""Opens files as one source, given what messages call them and the label file."""


class Opener(Protocol):
    """Opens one split; ``strict`` refuses data that a training run should not start on."""

    def __call__(self, *, strict: bool = True) -> Source:
        """Return the split's images with its own classes."""


@dataclass(frozen=True)
class Stored:
    """A data set found on disk: how to open its splits, or :data:`WHOLE` where it has none.

    ``notes`` are sentences for the user, such as which folders were left out.
    """

    location: str
    parts: Mapping[str, Opener]
    notes: tuple[str, ...] = ()


def find(path: Path, *, root: Path | None = None, label_file: Path | None = None) -> Stored:
    """Tell what is stored at ``path``.

    Args:
        path: what :func:`ghostclas.data.open_source` takes.
        root: what the paths in list files are relative to.
        label_file: class names by index, for lists, shards and Parquet.

    Raises:
        DataError: nothing there, or nothing that is known.
        UsageError: a URL.
    """
    if is_folder(path):
        return _folder(path, root, label_file)
    refuse_url(str(path))
    kind = path.suffix.lower()
    if kind == ".tar" and not is_there(path):
        shards = [Path(name) for name in expand_braces(str(path))]
        if len(shards) > 1:
            return _files(shards, str(path), open_shards, label_file or find_label_file(shards[0].parent))
    if not is_there(path):
        raise DataError(f"no such folder or file: {path}")
    if not is_file(path):
        raise DataError(f"{path} is no regular file, but a pipe or a device; {_EXPECTED}")
    if kind == ".zip":
        return _tree(ZipTree(path), path)
    if kind == ".txt":
        return Stored(str(path), {WHOLE: _always(partial(open_list, path, root, label_file))})
    if kind == ".csv":
        return Stored(str(path), {WHOLE: _always(partial(open_table, path, root, label_file))})
    if kind in _OPEN:
        return _files([path], str(path), _OPEN[kind], label_file or find_label_file(path.parent))
    raise DataError(f"{path} is a file; {_EXPECTED}")


def _folder(path: Path, root: Path | None, label_file: Path | None) -> Stored:
    lists = {split: path / name for split, name in LIST_NAMES.items() if (path / name).is_file()}
    if lists:
        return Stored(
            str(path),
            {split: _always(partial(open_list, file, root, label_file)) for split, file in lists.items()},
        )
    for kind, opener in _OPEN.items():
        groups, others = _groups(path, kind)
        if groups:
            first = groups.get("train", next(iter(groups.values())))[0]
            names = label_file or find_label_file(path) or find_label_file(first.parent)
            parts = {
                split: _always(partial(opener, files, f"{path}/{split}".rstrip("/"), names))
                for split, files in groups.items()
            }
            return Stored(str(path), parts, _left_out(path, others) if others else ())
    return _tree(FolderTree(path), path)


def _groups(path: Path, kind: str) -> tuple[dict[str, list[Path]], list[str]]:
    """Find shards or Parquet files, by split.

    Returns:
        The files of each split, empty if the folder is no such data set, and the names of the folders beside
        the splits that hold such files, too.
    """
    visible = [entry for entry in path.iterdir() if not is_hidden(entry.name)]
    folders = {folder: _files_in(folder, kind) for folder in visible if folder.is_dir()}
    files = sorted(entry for entry in visible if entry.suffix.lower() == kind and not entry.is_dir())
    if files:
        # Beside class folders an archive is only an archive.
        only_files = all(folder.name == OUTPUT_FOLDER for folder in folders)
        return (_by_split({file: file.stem for file in files}) if only_files else {}), []
    parts = [folder for folder in folders if folder.name.lower() in {*SPLIT_NAMES, "data"}]
    inside = [file for folder in parts for file in folders[folder]]
    others = [folder.name for folder, found in folders.items() if found and folder not in parts]
    named = {f: f.stem if f.parent.name.lower() == "data" else f.parent.name for f in inside}
    return _by_split(named), sorted(others)


def _files_in(folder: Path, kind: str) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{kind}") if not is_hidden(file.name))


def _by_split(named: Mapping[Path, str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for file, name in named.items():
        match = _SPLIT_IN_NAME.search(name)
        groups.setdefault(SPLIT_NAMES[match[1].lower()] if match else WHOLE, []).append(file)
    # If only some names contain a split, none of them counts.
    return {WHOLE: sorted(named)} if WHOLE in groups and len(groups) > 1 else groups


def _files(files: Sequence[Path], location: str, opener: OpenFiles, label_file: Path | None) -> Stored:
    return Stored(location, {WHOLE: _always(partial(opener, files, location, label_file))})


def _always(opened: Callable[[], Source]) -> Opener:
    return lambda *, strict=True: opened()


def _tree(tree: FolderTree | ZipTree, path: Path) -> Stored:
    listing = tree.walk()
    outer: list[tuple[Tree, Listing]] = []
    if isinstance(tree, ZipTree):
        inner, inside = enter(tree, listing, frozenset(SPLIT_NAMES))
        if inner is not tree:
            outer = [(tree, listing)]
        tree, listing = inner, inside
    names, unmatched = _names(tree, listing, outer, path)
    listing = listing.with_notes(unmatched)
    splits = [folder for folder in listing.top() if folder.lower() in SPLIT_NAMES]
    others = sorted(set(listing.holding()) - set(splits))
    if not _is_divided(tree, listing, splits, others):
        return Stored(tree.location, {WHOLE: _part(tree, listing, names, WHOLE)}, listing.notes)
    left_out = [*others, *listing.loose()]
    listing = listing.with_notes(_left_out(tree.location, left_out) if left_out else ())
    parts: dict[str, Opener] = {}
    for folder in splits:
        name = SPLIT_NAMES[folder.lower()]
        if name in parts:
            raise DataError(f"{tree.location} has several folders for the {name} images: {', '.join(splits)}")
        parts[name] = _part(tree.below(folder), listing.below(folder), names, name)
    return Stored(tree.location, parts, listing.notes)


def _part(tree: Tree, listing: Listing, names: Mapping[str, str], split: str) -> Opener:
    def opened(*, strict: bool = True) -> Source:
        if split == "val" and not listing.images:
            raise DataError(
                f"{tree.location} holds no image; fill it, or remove it to set training images aside"
            )
        return labelled(tree, listing, names, empty_classes=not strict or split in ("val", "test"))

    return opened


def _is_divided(tree: Tree, listing: Listing, splits: list[str], others: list[str]) -> bool:
    """Distinguish the split ``train/`` from a class called train, next to ``bus/`` and ``tram/``.

    A folder with such a name is a split if there is nothing else, or if it holds class folders. Beside a
    training and another part, all other folders are left out. Beside a single part, only those are left out
    that have the name of a part or a pool.

    Raises:
        DataError: it is unclear which folders are splits.
    """
    nested = [folder for folder in splits if listing.holding(folder)]
    if not splits or not others or not nested:
        return bool(splits) and not others
    several = "train" in {SPLIT_NAMES[folder.lower()] for folder in nested} and len(nested) > 1
    unclear = others if not several else []
    unclear = [folder for folder in unclear if not _LIKE_A_PART.fullmatch(folder)]
    loose = [folder for folder in nested if listing.loose(folder)]
    if unclear or loose:
        raise DataError(
            f"{tree.location}: {first_few(f'{folder}/' for folder in nested)} holds "
            f"{'images and ' if loose else ''}class folders, and beside it there "
            f"{'is' if len(others) == 1 else 'are'} {first_few(f'{folder}/' for folder in others)}; "
            "put all classes to learn into train/, or move away what belongs to no class"
        )
    return True


def _left_out(location: str | Path, others: Sequence[str]) -> tuple[str, ...]:
    return (
        f"{location}: left out {first_few(others)} beside the parts; "
        "only train/, val/ and test/ (or names that mean the same) are used",
    )


def _names(
    tree: FolderTree | ZipTree, listing: Listing, outer: list[tuple[Tree, Listing]], path: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the names in ``classes.csv`` by folder, and notes about rows without a folder."""
    folders = {part for folder in listing.folders for part in folder.split("/")[:2]}
    for place, content in [(tree, listing), *outer]:
        if CLASSES_FILE in content.others:
            where = f"{place.location}/{CLASSES_FILE}"
            names = read_names(place.read(CLASSES_FILE), where)
            if not folders & names.keys():
                raise DataError(f"{where} names none of the class folders of {tree.location}")
            return names, _unmatched(where, names, folders)
    beside = path.resolve().parent / CLASSES_FILE
    if beside.is_file():
        names = read_names(_read_beside(beside), str(beside))
        if folders & names.keys():
            return names, _unmatched(str(beside), names, folders)
    return {}, ()


def _read_beside(file: Path) -> bytes:
    try:
        return read_regular(file, MAX_CLASSES_BYTES)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None


def _unmatched(where: str, names: Mapping[str, str], folders: set[str]) -> tuple[str, ...]:
    first, *others = names
    # The first row may be a header.
    absent = [name for name in others if name not in folders]
    if first not in folders and names[first].lower() not in _HEADERS:
        absent.insert(0, first)
    if not absent:
        return ()
    rows = "row has" if len(absent) == 1 else "rows have"
    return (f"{where}: {len(absent):,} {rows} no folder: {first_few(map(repr, absent))}",)


_OPEN: Mapping[str, OpenFiles] = {".tar": open_shards, ".parquet": open_parquet}
