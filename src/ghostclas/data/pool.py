"""Images without labels, from any folder, archive, list or data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np

from ghostclas.data.filenames import describe_left_out, is_image
from ghostclas.data.folder import FolderTree
from ghostclas.data.labels import read_lines
from ghostclas.data.listfile import elsewhere
from ghostclas.data.source import Sample, Samples, Source
from ghostclas.data.storage import find
from ghostclas.data.tree import Tree
from ghostclas.data.zipped import ZipTree
from ghostclas.errors import DataError
from ghostclas.files import is_there

UNLABELLED = -1
_LONGEST_PATH = 1000
_WITH_LABELS = {".tar", ".parquet"}


@dataclass(frozen=True)
class Pool:
    """A :class:`~ghostclas.data.source.Source` whose labels are all ``UNLABELLED`` and which has no classes.

    Attributes:
        tree: where the files are.
        samples: keys are paths relative to the tree.
        notes: sentences for the user, such as what was left out.
    """

    tree: Tree
    samples: Samples
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return self.tree.location

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``.

        Raises:
            ImageError: the file is gone or cannot be read.
        """
        return self.tree.read(self.samples.key(range(len(self.samples))[index]))


@dataclass(frozen=True, eq=False)
class Joined:
    """Several sources one after the other, with the classes of the first.

    Attributes:
        parts: the keys of all but the first get ``unlabelled/`` in front, so that they stay apart.
    """

    parts: tuple[Source, ...]

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return " and ".join(part.location for part in self.parts)

    @property
    def classes(self) -> Sequence[str]:
        """Class names of the first part."""
        return self.parts[0].classes

    @cached_property
    def samples(self) -> Samples:
        """The images of all parts with their labels."""
        first, *others = self.parts
        rest = (Sample(f"unlabelled/{key}", label) for part in others for key, label in part.samples)
        return Samples([*first.samples, *rest])

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``."""
        for part in self.parts:
            if index < len(part.samples):
                return part.read(index)
            index -= len(part.samples)
        raise IndexError(index)


def open_pool(path: str | PathLike[str]) -> Source:
    """Open the images at ``path`` and ignore labels.

    A folder or ``.zip``: every image at any depth. A ``.txt``: one path a line, relative to the file; a label
    after it, as in a PaddleClas list, is ignored. Shards (``.tar``) and ``.parquet``: all splits' images.

    Raises:
        DataError: nothing there, or no image in it.
    """
    path = Path(path)
    if not is_there(path) and path.suffix.lower() != ".tar":
        raise DataError(f"no such folder or file: {str(path)[:_LONGEST_PATH]}")
    if path.suffix.lower() == ".txt":
        pool = _listed(path)
    elif path.suffix.lower() in _WITH_LABELS or (path.is_dir() and _holds_only(path, _WITH_LABELS)):
        parts = tuple(opener(strict=False) for opener in find(path).parts.values())
        return _unlabelled(parts[0] if len(parts) == 1 else Joined(parts))
    else:
        tree = ZipTree(path) if path.suffix.lower() == ".zip" else FolderTree(path)
        listing = tree.walk()
        ignored = Counter(listing.others.values())
        notes = (*listing.notes, f"{path}: {describe_left_out(ignored)}") if ignored else listing.notes
        pool = Pool(tree, Samples((name, UNLABELLED) for name in listing.images), notes=notes)
    if not len(pool.samples):
        raise DataError(f"the pool {path} holds no image; expected image files at any depth below it")
    return pool


def _listed(file: Path) -> Pool:
    names = []
    for line in read_lines(file):
        text = line.strip()
        if text:
            labelled = text.split("\t") if "\t" in text else text.rsplit(maxsplit=1)
            names.append(labelled[0] if not is_image(text) else text)
    samples = Samples((name, UNLABELLED) for name in names)
    return Pool(FolderTree(file.parent), samples, notes=elsewhere(file, file.parent, names))


def _holds_only(folder: Path, suffixes: set[str]) -> bool:
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
    kinds = {file.suffix.lower() for file in files}
    return bool(kinds & suffixes) and kinds <= suffixes | {".txt"}


def _unlabelled(source: Source) -> Source:
    labels = np.full(len(source.samples), UNLABELLED, np.int32)
    samples = source.samples if isinstance(source.samples, Samples) else Samples(source.samples)
    return _Unlabelled(source, samples.with_labels(labels))


@dataclass(frozen=True, eq=False)
class _Unlabelled:
    source: Source
    samples: Samples
    classes: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        return self.source.location

    def read(self, index: int) -> bytes:
        return self.source.read(index)
