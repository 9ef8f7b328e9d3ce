"""Open labelled images from a path, whole or as a training and a validation part."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from ghostclas.data.classes import first_few
from ghostclas.data.set_aside import choose
from ghostclas.data.source import Source, labels_of
from ghostclas.data.storage import SPLIT_NAMES, WHOLE, find
from ghostclas.data.subsets import Subset, align_source, source_notes
from ghostclas.errors import DataError, UsageError

ALL = "all"
"""The split of every image, where a data set has one part only."""

FEW_IMAGES = 500
"""With fewer images, a fifth of them is set aside: a tenth would tell little about the accuracy."""


@dataclass(frozen=True)
class Splits:
    """The images to train on and those to validate on, with the same class indices.

    Attributes:
        train: its classes define the indices.
        val: its labels are indices into ``train.classes``.
        notes: sentences for the user, such as classes without a validation image.
    """

    train: Source
    val: Source
    notes: tuple[str, ...] = ()


def open_source(
    path: str | PathLike[str],
    split: str | None = None,
    *,
    root: str | PathLike[str] | None = None,
    label_file: str | PathLike[str] | None = None,
) -> Source:
    """Open the labelled images at ``path``.

    What it can be:

    - a folder or a ``.zip``: either ``<class>/**/<image>``, or that below ``train/``, ``val/`` (also
      ``valid/`` or ``validation/``) and ``test/``; a ``classes.csv`` in it or its parent names the classes;
    - a PaddleClas list (``.txt``), or a folder with ``train_list.txt`` and ``val_list.txt``;
    - a table (``.csv``) of ``file,label`` rows;
    - WebDataset shards: a ``.tar``, ``train-{000..123}.tar``, or a folder of them, with the split in the
      names (``train-000.tar``) or as subfolders;
    - ``.parquet`` files as Hugging Face writes them, one or a folder of them, likewise.

    Args:
        path: see above.
        split: ``train``, ``val`` or ``test``, or ``all`` of a data set without splits. By default everything;
            in a data set with splits, the one to measure on: ``val`` if there is one, else ``test``, else
            ``train``.
        root: what the paths in a list are relative to, by default the list's folder.
        label_file: class names by index for lists, shards and Parquet, one a line, with or without the index
            before it; by default the ``classes.txt`` or ``*label*.txt`` beside them.

    The class indices of a data set with splits are those of its training part, whichever part is opened.

    Raises:
        DataError: nothing usable at ``path``, no such split, or classes that the training part has not.
    """
    stored = find(Path(path), root=_path(root), label_file=_path(label_file))
    if split is None or (split.lower() == ALL and len(stored.parts) == 1):
        name = next(name for name in (WHOLE, "val", "test", "train") if name in stored.parts)
    else:
        name = SPLIT_NAMES.get(split.lower(), split)
        if name not in stored.parts:
            has = first_few(repr(part) for part in stored.parts if part != WHOLE)
            raise DataError(
                f"{stored.location} has no split {split!r}; "
                + (f"it has {has}" if has else "its images are not divided into train/ and val/")
            )
    source = stored.parts[name]()
    if name in (WHOLE, "train") or "train" not in stored.parts:
        return source
    return _aligned(source, stored.parts["train"]())


def open_splits(
    path: str | PathLike[str],
    *,
    val_fraction: float | None = None,
    seed: int = 0,
    root: str | PathLike[str] | None = None,
    label_file: str | PathLike[str] | None = None,
) -> Splits:
    """Open the labelled images at ``path`` for training.

    A data set with a training and a validation part stays as it is; a validation part without images is an
    error. Otherwise about ``val_fraction`` of each class is set aside: at least one image, and at least one
    stays for training. The choice depends on ``seed`` and the images' names alone, so adding images moves few
    of the others. A ``test`` part is not used here.

    Args:
        path: as for :func:`open_source`.
        val_fraction: part of the images to set aside, between 0 and 1. When absent, a tenth, or a fifth of
            fewer than ``FEW_IMAGES``.
        seed: another seed sets other images aside.
        root: as for :func:`open_source`.
        label_file: as for :func:`open_source`.

    Raises:
        DataError: as for :func:`open_source`, or fewer than two classes.
        UsageError: ``val_fraction`` is not between 0 and 1.
    """
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise UsageError(f"val_fraction must be between 0 and 1, got {val_fraction}")
    stored = find(Path(path), root=_path(root), label_file=_path(label_file))
    if WHOLE not in stored.parts and "train" not in stored.parts:
        raise DataError(f"{stored.location} has no training images; expected them in {stored.location}/train")
    train = stored.parts["train" if "train" in stored.parts else WHOLE]()
    if len(train.classes) < 2:
        raise DataError(
            f"{train.location} has one class only ({train.classes[0]!r}); a classifier needs two or more, "
            "each in its own folder"
        )
    notes = _absent(train, "training")
    if "val" in stored.parts:
        val = _aligned(stored.parts["val"](), train)
        notes = [*source_notes(train), *source_notes(val), *stored.notes, *notes]
        return Splits(train, val, notes=(*dict.fromkeys(notes), *_absent(val, "validation")))
    if val_fraction is None:
        val_fraction = 0.2 if len(train.samples) < FEW_IMAGES else 0.1
    chosen = choose(train, val_fraction, seed)
    if not chosen.any():
        raise DataError(
            f"{train.location} has one image of each class, so none can be set aside for validation; "
            "add images, or a val/ beside train/"
        )
    val = Subset(train, np.flatnonzero(chosen))
    notes = [*dict.fromkeys([*source_notes(train), *stored.notes]), *notes]
    notes += [f"{int(chosen.sum())} of {len(chosen)} images were set aside for validation"]
    if "test" in stored.parts:
        notes.append("the test images were left alone; measure on them when training is over")
    return Splits(
        Subset(train, np.flatnonzero(~chosen)),
        val,
        notes=(*notes, *_absent(val, "validation")),
    )


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _aligned(source: Source, train: Source) -> Source:
    return align_source(
        source,
        train.classes,
        reference="the training images",
        advice=f"rename the class, or add it to {train.location}",
    )


def _absent(source: Source, kind: str) -> list[str]:
    counts = np.bincount(labels_of(source.samples), minlength=len(source.classes))
    absent = [name for name, count in zip(source.classes, counts, strict=True) if not count]
    return [f"no {kind} image of {first_few(map(repr, absent))}"] if absent else []
