"""Labelled images as ``<class>/<anything>/<image>``, in a folder or an archive."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from ghostclas.data.classes import CLASSES_FILE, class_names, first_few
from ghostclas.data.filenames import (
    OUTPUT_FOLDER,
    SORTED_LIST,
    describe_left_out,
    other_kind,
    own_output,
    unsure_folder,
)
from ghostclas.data.source import Samples
from ghostclas.errors import DataError

MAX_DEPTH = 100
"""The most folders within each other that are gone through."""

OUTSIDE = "outside the class folders"
"""The kind, in ``TreeSource.ignored``, of images that have no class."""

_PARTS_OF_A_RUN = ("bundle", "checkpoints", "report")
_MARKERS = frozenset({"config.yaml", "log.jsonl", "manifest.json", "predictions.csv"})


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
    """The content of a tree, without hidden names and without the package's own outputs.

    Attributes:
        images: relative POSIX paths of the images that are read here, in code point order.
        others: the other files by path, and what kind of file each is.
        folders: relative POSIX paths, in code point order.
        notes: sentences for the user.
    """

    images: Sequence[str]
    others: Mapping[str, str]
    folders: Sequence[str]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        files: Iterable[str],
        folders: Iterable[str],
        head: Callable[[str], bytes],
        notes: tuple[str, ...] = (),
    ) -> Listing:
        """Sort out the visible files and folders of a tree.

        Args:
            files: relative POSIX paths.
            folders: likewise.
            head: returns the first bytes of a file; asked for where the extension is unknown.
            notes: further sentences for the user.
        """
        files, folders = sorted(files), sorted(folders)
        outputs = _outputs(files, folders, head)
        if outputs:
            files = [path for path in files if not _is_below(path, outputs)]
            named = first_few(f"{path}/ ({what})" for path, what in sorted(outputs.items()))
            notes = (*notes, f"left out what earlier commands wrote: {named}")
        kinds = {path: other_kind(path, partial(head, path)) for path in files}
        images = [path for path, kind in kinds.items() if kind is None]
        if outputs:
            # A folder with nothing but outputs, such as runs/, is no empty class.
            holding = {parent for path in images for parent in _parents(path)}
            around = {parent for path in outputs for parent in _parents(path)} - holding
            folders = [path for path in folders if path not in around and not _is_below(f"{path}/", outputs)]
        return cls(images, {path: kind for path, kind in kinds.items() if kind is not None}, folders, notes)

    def below(self, folder: str) -> Listing:
        """Return what is under ``folder``, relative to it."""
        start = f"{folder}/"
        cut = len(start)
        return Listing(
            [path[cut:] for path in self.images if path.startswith(start)],
            {path[cut:]: kind for path, kind in self.others.items() if path.startswith(start)},
            [path[cut:] for path in self.folders if path.startswith(start)],
            self.notes,
        )

    def with_notes(self, notes: Iterable[str]) -> Listing:
        """Return the same listing with further notes."""
        return replace(self, notes=(*self.notes, *notes))

    def top(self) -> list[str]:
        """Return the folders at the top."""
        return [path for path in self.folders if "/" not in path]

    def loose(self, folder: str = "") -> list[str]:
        """Return the images directly in ``folder``, not deeper."""
        start = f"{folder}/" if folder else ""
        return [path for path in self.images if path.startswith(start) and "/" not in path[len(start) :]]

    def holding(self, folder: str = "") -> list[str]:
        """Return the names of the folders directly in ``folder`` that hold an image at any depth."""
        start = f"{folder}/" if folder else ""
        inside = (path[len(start) :] for path in self.images if path.startswith(start))
        return sorted({path.split("/", 1)[0] for path in inside if "/" in path})


@dataclass(frozen=True)
class TreeSource:
    """A :class:`~ghostclas.data.source.Source` over a tree: one class a top folder, images at any depth.

    Attributes:
        tree: where the files are.
        classes: class names by index.
        samples: keys are paths relative to the tree, in code point order.
        folders: the folder of each class; equal to ``classes`` unless a ``classes.csv`` names them.
        ignored: how many files of each kind are no samples.
        notes: sentences for the user, such as what was left out.
    """

    tree: Tree
    classes: tuple[str, ...]
    samples: Samples
    folders: tuple[str, ...]
    ignored: tuple[tuple[str, int], ...] = ()
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
    count = Counter(path.split("/", 1)[0] for path in listing.images if "/" in path)
    if not count:
        raise DataError(_nothing_found(tree, listing))
    empty = [folder for folder in listing.top() if not count[folder] and folder != OUTPUT_FOLDER]
    if empty and not empty_classes:
        raise DataError(_empty_classes(tree, listing, empty))
    folders = tuple(sorted(count))
    label = {folder: index for index, folder in enumerate(folders)}
    samples = Samples((path, label[path.split("/", 1)[0]]) for path in listing.images if "/" in path)
    classes = class_names(folders, names, tree.location)
    ignored = Counter(kind for path, kind in listing.others.items() if path != CLASSES_FILE)
    notes = listing.notes
    if ignored:
        notes += (f"{tree.location}: {describe_left_out(ignored)}",)
    loose = len(listing.loose())
    if loose:
        ignored[OUTSIDE] = loose
        notes += (f"{tree.location}: left out {loose:,} image{'s' * (loose > 1)} {OUTSIDE}",)
    return TreeSource(tree, classes, samples, folders, tuple(sorted(ignored.items())), notes)


def _outputs(files: Sequence[str], folders: Sequence[str], head: Callable[[str], bytes]) -> dict[str, str]:
    """Return the folders that this package wrote, and what they are."""
    candidates = {posixpath.dirname(path) for path in files if posixpath.basename(path) in _MARKERS}
    sortings = [posixpath.dirname(path) for path in files if posixpath.basename(path) == SORTED_LIST]
    if not candidates and not sortings:
        return {}
    present = {*files, *folders}
    unsure = (unsure_folder(folder, head) for folder in sortings)
    found = {path: "photos without a certain label" for path in unsure if path and path in present}
    for folder in sorted(candidates):
        what = own_output(folder, present.__contains__)
        if what and folder:
            found[folder] = what
        elif what == "a training run":
            # The images lie in the run's own folder: --output . was given.
            found |= {name: "part of a training run" for name in _PARTS_OF_A_RUN if name in present}
    return {path: what for path, what in found.items() if not any(p in found for p in _parents(path))}


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _is_below(path: str, folders: Mapping[str, str]) -> bool:
    return any(parent in folders for parent in _parents(path))


def _empty_classes(tree: Tree, listing: Listing, empty: Sequence[str]) -> str:
    kinds = Counter(kind for path, kind in listing.others.items() if path.split("/", 1)[0] in empty)
    why = f" ({describe_left_out(kinds)})" if kinds else ""
    return (
        f"{tree.location}: no image in the class folder{'s' * (len(empty) > 1)} "
        f"{first_few(map(repr, empty))}{why}; add images (or remove the folder)"
    )


def _nothing_found(tree: Tree, listing: Listing) -> str:
    if listing.images:
        return (
            f"{tree.location} holds {len(listing.images)} images but no class folders; "
            "put each image in a folder named after its class"
        )
    if listing.others:
        kinds = first_few(f"{kind}: {n}" for kind, n in Counter(listing.others.values()).most_common())
        return f"{tree.location} holds no image, only other files ({kinds}); expected <class>/*.jpg"
    return f"{tree.location} is empty; expected one folder of images for each class"
