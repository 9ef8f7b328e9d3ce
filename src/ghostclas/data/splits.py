"""Open labelled images from a path, whole or as a training and a validation part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostclas.data.classes import CLASSES_FILE, read_names, some
from ghostclas.data.folder import FolderTree
from ghostclas.data.samples import labels_of
from ghostclas.data.source import Source
from ghostclas.data.tree import Listing, Tree, is_image, labelled
from ghostclas.data.views import Subset, align_source
from ghostclas.data.zipped import ZipTree, enter
from ghostclas.errors import DataError, UsageError

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


@dataclass(frozen=True)
class Splits:
    """What to learn from and what to measure on, with the same class indices.

    Attributes:
        train: its classes define the indices.
        val: its labels are indices into ``train.classes``.
        automatic: ``val`` was set aside from the training images.
        notes: sentences that a person should see, such as classes without a validation image.
    """

    train: Source
    val: Source
    automatic: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """A data set found on disk: how to open its splits, or :data:`WHOLE` where it has none."""

    location: str
    parts: Mapping[str, Callable[[], Source]]


def open_source(path: str | PathLike[str], split: str | None = None) -> Source:
    """Open the labelled images at ``path``.

    Args:
        path: a folder or a ``.zip``: either ``<class>/**/<image>``, or that below ``train/``, ``val/`` (also
            ``valid/`` or ``validation/``) and ``test/``. A ``classes.csv`` in it or in its parent names the
            classes.
        split: ``train``, ``val`` or ``test``. By default everything; in a data set with splits, ``val`` if
            there is one, else ``test``, else ``train``: what one measures on.

    The class indices of a data set with splits are those of its training part, whichever part is opened.

    Raises:
        DataError: nothing usable at ``path``, no such split, or classes that the training part has not.
    """
    stored = _find(Path(path))
    if split is None:
        name = next(name for name in (WHOLE, "val", "test", "train") if name in stored.parts)
    else:
        name = SPLIT_NAMES.get(split.lower(), split)
        if name not in stored.parts:
            has = some(repr(part) for part in stored.parts if part != WHOLE)
            raise DataError(
                f"{stored.location} has no split {split!r}; "
                + (f"it has {has}" if has else "its images are not divided into train/ and val/")
            )
    source = stored.parts[name]()
    if name in (WHOLE, "train") or "train" not in stored.parts:
        return source
    return _aligned(source, stored.parts["train"]())


def open_splits(path: str | PathLike[str], *, val_fraction: float = 0.1, seed: int = 0) -> Splits:
    """Open the labelled images at ``path`` for training.

    A data set with a training and a validation part is used as it is; a validation part without any image is
    an error. Anything else is divided: of each class about ``val_fraction`` is set aside, at least one image,
    and at least one is left. The choice depends on ``seed`` and the images' names only, so that adding images
    moves few of the others. A ``test`` part is never used here.

    Args:
        path: as for :func:`open_source`.
        val_fraction: part of the images to set aside, between 0 and 1.
        seed: another seed sets other images aside.

    Raises:
        DataError: as for :func:`open_source`, or fewer than two classes.
        UsageError: ``val_fraction`` is not between 0 and 1.
    """
    if not 0 < val_fraction < 1:
        raise UsageError(f"val_fraction must be between 0 and 1, got {val_fraction}")
    stored = _find(Path(path))
    if WHOLE not in stored.parts and "train" not in stored.parts:
        raise DataError(f"{stored.location} has no training images; expected them in {stored.location}/train")
    train = stored.parts["train" if "train" in stored.parts else WHOLE]()
    if len(train.classes) < 2:
        raise DataError(
            f"{train.location} has one class only ({train.classes[0]!r}); a classifier needs two or more, "
            "each in its own folder"
        )
    if "val" in stored.parts:
        val = _aligned(stored.parts["val"](), train)
        return Splits(train, val, automatic=False, notes=tuple(_absent(train, val)))
    chosen = _set_aside(train, val_fraction, seed)
    val = Subset(train, np.flatnonzero(chosen))
    notes = [f"{int(chosen.sum())} of {len(chosen)} images were set aside for validation"]
    if "test" in stored.parts:
        notes.append("the test images were left alone; measure on them when training is over")
    return Splits(
        Subset(train, np.flatnonzero(~chosen)), val, automatic=True, notes=(*notes, *_absent(train, val))
    )


def _find(path: Path) -> Stored:
    if path.is_dir():
        return _tree(FolderTree(path), path)
    if not path.exists():
        raise DataError(f"no such folder or file: {path}")
    if path.suffix.lower() == ".zip":
        return _tree(ZipTree(path), path)
    raise DataError(
        f"{path} is a file; expected a folder with one subfolder of images for each class, or a .zip"
    )


def _tree(tree: FolderTree | ZipTree, path: Path) -> Stored:
    listing = tree.walk()
    outer: list[tuple[Tree, Listing]] = []
    if isinstance(tree, ZipTree):
        inner, inside = enter(tree, listing, frozenset(SPLIT_NAMES))
        if inner is not tree:
            outer = [(tree, listing)]
        tree, listing = inner, inside
    names = _names(tree, listing, outer, path)
    tops = [folder for folder in listing.top() if folder.lower() in SPLIT_NAMES]
    if not _is_divided(listing, tops):
        return Stored(tree.location, {WHOLE: lambda: labelled(tree, listing, names)})
    parts: dict[str, Callable[[], Source]] = {}
    for folder in tops:
        name = SPLIT_NAMES[folder.lower()]
        if name in parts:
            raise DataError(f"{tree.location} has several folders for the {name} images: {', '.join(tops)}")
        parts[name] = _part(tree.below(folder), listing.below(folder), names, name)
    return Stored(tree.location, parts)


def _part(tree: Tree, listing: Listing, names: Mapping[str, str], split: str) -> Callable[[], Source]:
    def opened() -> Source:
        if split == "val" and not any(map(is_image, listing.files)):
            raise DataError(
                f"{tree.location} holds no image; fill it, or remove it to set training images aside"
            )
        return labelled(tree, listing, names, empty_classes=split != "train")

    return opened


def _is_divided(listing: Listing, splits: list[str]) -> bool:
    """Tell ``train/`` and ``val/`` from a class called train, next to ``bus/`` and ``tram/``."""
    kinds = {SPLIT_NAMES[folder.lower()] for folder in splits}
    others = {p.split("/", 1)[0] for p in listing.files if "/" in p and is_image(p)} - set(splits)
    if not kinds or not others:
        return bool(kinds)
    return {"train"} < kinds and not any(listing.loose(folder) for folder in splits)


def _names(
    tree: FolderTree | ZipTree, listing: Listing, outer: list[tuple[Tree, Listing]], path: Path
) -> dict[str, str]:
    folders = {part for folder in listing.folders for part in folder.split("/")[:2]}
    for place, content in [(tree, listing), *outer]:
        if CLASSES_FILE in content.files:
            where = f"{place.location}/{CLASSES_FILE}"
            names = read_names(place.read(CLASSES_FILE), where)
            if not folders & names.keys():
                raise DataError(f"{where} names none of the class folders of {tree.location}")
            return names
    beside = path.resolve().parent / CLASSES_FILE
    if beside.is_file():
        names = read_names(beside.read_bytes(), str(beside))
        return names if folders & names.keys() else {}
    return {}


def _aligned(source: Source, train: Source) -> Source:
    return align_source(
        source,
        train.classes,
        reference="the training images",
        advice=f"rename the class, or add it to {train.location}",
    )


def _absent(train: Source, val: Source) -> list[str]:
    counts = np.bincount(labels_of(val.samples), minlength=len(train.classes))
    absent = [name for name, count in zip(train.classes, counts, strict=True) if not count]
    return [f"no validation image of {some(map(repr, absent))}"] if absent else []


def _set_aside(source: Source, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    labels = labels_of(source.samples)
    rank = np.array([_lot(sample.key, seed) for sample in source.samples], dtype=np.uint64)
    order = np.lexsort((rank, labels))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    start = 0
    for count in np.bincount(labels, minlength=len(source.classes)).tolist():
        take = min(max(1, round(count * fraction)), count - 1) if count else 0
        chosen[order[start : start + take]] = True
        start += count
    return chosen


def _lot(key: str, seed: int) -> int:
    name = f"{seed}\0{key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
