"""Labelled images as ``<class>/<anything>/<image>``, whatever holds the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from ghostclas.data.classes import class_names, first_few
from ghostclas.data.filenames import is_image
from ghostclas.data.samples import Samples
from ghostclas.errors import DataError


class Tree(Protocol):
    """A tree of files that can be listed and read. Picklable; safe to read from several threads."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def walk(self) -> Listing:
        """Return every file and folder that is not hidden."""

    def read(self, path: str) -> bytes:
        """Return the content of the file at ``path``, relative to the tree and with ``/`` between names."""

    def below(self, folder: str) -> Tree:
        """Return the tree under ``folder``."""


@dataclass(frozen=True)
class Listing:
    """What a tree holds: relative POSIX paths in code point order, hidden names left out."""

    files: Sequence[str]
    folders: Sequence[str]

    def below(self, folder: str) -> Listing:
        """Return what is under ``folder``, relative to it."""
        start = f"{folder}/"
        return Listing(
            [path[len(start) :] for path in self.files if path.startswith(start)],
            [path[len(start) :] for path in self.folders if path.startswith(start)],
        )

    def top(self) -> list[str]:
        """Return the folders at the top."""
        return [path for path in self.folders if "/" not in path]

    def loose(self, folder: str = "") -> list[str]:
        """Return the images directly in ``folder``, not deeper."""
        start = f"{folder}/" if folder else ""
        return [p for p in self.files if p.startswith(start) and "/" not in p[len(start) :] and is_image(p)]


@dataclass(frozen=True)
class TreeSource:
    """A :class:`~ghostclas.data.source.Source` over a tree: one class a top folder, images at any depth.

    Attributes:
        tree: where the files are.
        classes: class names by index.
        samples: keys are paths relative to the tree, in code point order.
        folders: the folder of each class; equal to ``classes`` unless a ``classes.csv`` names them.
        ignored: how many files of each extension are no samples: no images, or outside every class folder.
    """

    tree: Tree
    classes: tuple[str, ...]
    samples: Samples
    folders: tuple[str, ...]
    ignored: tuple[tuple[str, int], ...] = ()

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


def labelled(
    tree: Tree, listing: Listing, names: Mapping[str, str], *, empty_classes: bool = False
) -> TreeSource:
    """Read a listing as class folders, with indices in code point order of the folders' names.

    Args:
        tree: what the listing was made of.
        listing: its files and folders.
        names: human-readable names by folder.
        empty_classes: leave out class folders without any image instead of refusing them.

    Raises:
        DataError: no class folder, no image, or a class folder without images.
    """
    images = [path for path in listing.files if is_image(path)]
    count = Counter(path.split("/", 1)[0] for path in images if "/" in path)
    if not count:
        raise DataError(_nothing_found(tree, listing, images))
    empty = [folder for folder in listing.top() if not count[folder]]
    if empty and not empty_classes:
        raise DataError(
            f"{tree.location}: no image in the class folder{'s' * (len(empty) > 1)} "
            f"{first_few(map(repr, empty))}; add images (or remove the folder)"
        )
    folders = tuple(sorted(folder for folder, images_in_it in count.items() if images_in_it))
    label = {folder: index for index, folder in enumerate(folders)}
    samples = Samples((path, label[path.split("/", 1)[0]]) for path in images if "/" in path)
    classes = class_names(folders, names, tree.location)
    others = _extensions([path for path in listing.files if "/" not in path or not is_image(path)])
    return TreeSource(tree, classes, samples, folders, tuple(sorted(others.items())))


def _nothing_found(tree: Tree, listing: Listing, images: Sequence[str]) -> str:
    if images:
        return (
            f"{tree.location} holds {len(images)} images but no class folders; "
            "put each image in a folder named after its class"
        )
    if listing.files:
        kinds = first_few(
            f"{kind or 'no extension'}: {n}" for kind, n in _extensions(listing.files).most_common()
        )
        return f"{tree.location} holds no image, only other files ({kinds}); expected <class>/*.jpg"
    return f"{tree.location} is empty; expected one folder of images for each class"


def _extensions(files: Sequence[str]) -> Counter[str]:
    return Counter(PurePosixPath(path).suffix.lower() for path in files)
