"""Audit of a data set: unreadable files, duplicates, leaks between its splits, and balance."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations, product
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ghostclas import imaging
from ghostclas.data.source import Source
from ghostclas.data.storage import WHOLE, find
from ghostclas.data.subsets import source_notes
from ghostclas.datasets.phash import Hashes, close_pairs, colour_correlation, perceptual_hashes, signature
from ghostclas.errors import ImageError
from ghostclas.image_files import EXTENSIONS, identify, open_image
from ghostclas.processor import usable_cores

Progress = Callable[[int, int | None], None]

NEAR_FREQUENCIES = 6
NEAR_GRADIENTS = 10
NEAR_CORRELATION = 0.97
"""Near duplicates differ in at most so many bits of each hash, and their colours correlate at least so well.

At least 99 % of photographs stay within all three limits after compression at quality 40, halving, squashing
to a square, 15 % more brightness, 20 % less contrast or 30 % less saturation. Of 3,409 catalogue photos, many
of different clothes in the same place, one pair did, which shows the same shorts.
"""

BLANK_DETAIL = 4.0
SMALL_SIDE = 32
LONG_RATIO = 5.0

SCARCE = 0.2
"""A class with fewer images than this part of the median class's is a finding."""

_HASH_SIDE = 64


@dataclass(frozen=True)
class File:
    """One image of the data set: its split (empty without splits), key and class."""

    split: str
    key: str
    label: str
    index: int

    @property
    def name(self) -> str:
        """The name in messages: the split and the key."""
        return f"{self.split}/{self.key}" if self.split else self.key


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be decoded; ``code`` is that of :class:`~ghostclas.errors.ImageError`."""

    file: File
    code: str
    message: str


@dataclass(frozen=True)
class Odd:
    """A file that can be decoded but is probably wrong; ``kind`` is stable."""

    file: File
    kind: str
    message: str


@dataclass(frozen=True)
class Group:
    """Files that show the same image.

    Attributes:
        files: two or more.
        exact: whether all of them have the same bytes.
    """

    files: tuple[File, ...]
    exact: bool

    @cached_property
    def leak(self) -> bool:
        """Whether the image is in several splits."""
        return len({file.split for file in self.files}) > 1

    @cached_property
    def conflict(self) -> bool:
        """Whether the image is in several classes."""
        return len({file.label for file in self.files}) > 1


@dataclass(frozen=True)
class SplitSummary:
    """The figures of one split.

    Attributes:
        name: ``train``, ``val``, ``test``, or empty.
        images: the number of images, unreadable ones included.
        bytes: the size of all images together.
        classes: the number of images of each class.
        missing: classes of other splits without an image in this one.
        formats: the number of images of each file format.
        short_side: smallest, median and largest, in pixels; zeros if no image could be read.
        ignored: the number of files of each kind that are no samples.
    """

    name: str
    images: int
    bytes: int
    classes: Mapping[str, int]
    missing: tuple[str, ...]
    formats: Mapping[str, int]
    short_side: tuple[int, int, int]
    ignored: Mapping[str, int]


@dataclass(frozen=True)
class Scarce:
    """A class with few images to learn from: how many, and how many the median class has."""

    label: str
    images: int
    median: float


@dataclass(frozen=True)
class Audit:
    """The result of :func:`audit`.

    Attributes:
        location: the data set.
        splits: the figures of each split.
        unreadable: files that cannot be decoded.
        odd: files that are probably wrong.
        groups: duplicates, leaks first, then conflicts, then by size.
        notes: the files that were left out, and other remarks on the layout of the data set.
        sources: the images, for :func:`~ghostclas.datasets.audit_page.write_page`.
    """

    location: str
    splits: tuple[SplitSummary, ...]
    unreadable: tuple[Unreadable, ...]
    odd: tuple[Odd, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    sources: Mapping[str, Source] = field(repr=False, compare=False)

    @cached_property
    def leaks(self) -> tuple[Group, ...]:
        """The groups that span several splits."""
        return tuple(group for group in self.groups if group.leak)

    @cached_property
    def conflicts(self) -> tuple[Group, ...]:
        """The groups that span several classes."""
        return tuple(group for group in self.groups if group.conflict)

    @cached_property
    def scarce(self) -> tuple[Scarce, ...]:
        """Classes with under a fifth of the median class's images, fewest first.

        The training split counts, or all images where there are no splits. Classes without any image there
        are in ``SplitSummary.missing``.
        """
        learned = [split.classes for split in self.splits if split.name in ("train", WHOLE) and split.classes]
        if not learned:
            return ()
        median = float(np.median(list(learned[0].values())))
        few = [Scarce(name, n, median) for name, n in learned[0].items() if n < SCARCE * median]
        return tuple(sorted(few, key=lambda one: (one.images, one.label)))

    @cached_property
    def leaked(self) -> int:
        """The number of images outside the training split that are in another split, too."""
        return sum(file.split != "train" for group in self.leaks for file in group.files)

    @cached_property
    def surplus(self) -> int:
        """The number of redundant images: all but one of each group."""
        return sum(len(group.files) - 1 for group in self.groups)

    @property
    def clean(self) -> bool:
        """Whether no image leaks between splits and every file can be read."""
        return not self.leaks and not self.unreadable

    def to_json(self) -> dict[str, Any]:
        """Return everything but the images as plain JSON."""
        return {
            "location": self.location,
            "clean": self.clean,
            "notes": list(self.notes),
            "leaked": self.leaked,
            "scarce": [asdict(one) for one in self.scarce],
            "splits": [asdict(split) for split in self.splits],
            "unreadable": [_plain(item) for item in self.unreadable],
            "odd": [_plain(item) for item in self.odd],
            "groups": [
                {
                    "leak": group.leak,
                    "conflict": group.conflict,
                    "exact": group.exact,
                    "files": [{"file": file.name, "class": file.label} for file in group.files],
                }
                for group in self.groups
            ],
        }


def audit(
    path: str | PathLike[str],
    *,
    root: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit every image of a data set.

    Each file is read and decoded once. Two images are exact duplicates if their bytes are the same. They are
    near duplicates if they show the same image rescaled, recompressed, or slightly changed in brightness or
    colour (:data:`NEAR_CORRELATION`). The audit finds no mirrored, rotated or cropped copies, and of blank
    images only exact copies.

    Args:
        path: a path for :func:`ghostclas.data.open_source`; all splits are audited.
        root: the directory of relative paths in a list.
        threads: the number of images decoded at a time; one a core when absent.
        progress: called with the number of images done and their total.

    Raises:
        DataError: the path cannot be opened. Bad files in it are findings, not errors.
    """
    stored = find(Path(path), root=root)
    sources: dict[str, Source] = {}
    for split in sorted(stored.parts, key=["train", "val", "test", WHOLE].index):
        sources[split] = stored.parts[split](strict=False)
    files: list[File] = []
    inspections: list[_Inspection | ImageError] = []
    total = sum(len(source.samples) for source in sources.values())
    for split, source in sources.items():
        classes = source.classes
        files += [File(split, s.key, classes[s.label], i) for i, s in enumerate(source.samples)]
        for inspection in _inspections(source, threads or usable_cores()):
            inspections.append(inspection)
            if progress is not None:
                progress(len(inspections), total)
    return Audit(
        stored.location,
        tuple(_summaries(sources, files, inspections)),
        tuple(
            Unreadable(file, inspection.code, str(inspection))
            for file, inspection in zip(files, inspections, strict=True)
            if isinstance(inspection, ImageError)
        ),
        tuple(
            Odd(file, kind, message)
            for file, inspection in zip(files, inspections, strict=True)
            if isinstance(inspection, _Inspection)
            for kind, message in _oddities(file, inspection)
        ),
        tuple(_groups(sources, files, inspections)),
        tuple(dict.fromkeys((*stored.notes, *(note for s in sources.values() for note in source_notes(s))))),
        sources,
    )


# ------------------------------------------------------------------ inspection


class _Inspection(NamedTuple):
    digest: bytes
    size: int
    format: str
    width: int
    height: int
    hashes: Hashes


def _inspect(source: Source, index: int) -> _Inspection | ImageError:
    key = source.samples[index].key
    try:
        data = source.read(index)
        image = imaging.decode(data, short_side=_HASH_SIDE)
    except ImageError as error:
        return ImageError(error.code, str(error).replace("the image", key, 1))
    kind = identify(key, data)
    width, height = open_image(key, kind, data).size
    return _Inspection(
        hashlib.sha256(data).digest(), len(data), kind, width, height, perceptual_hashes(image)
    )


def _inspections(source: Source, threads: int) -> Iterator[_Inspection | ImageError]:
    """Yield one result an image, in order; threads prepare the next ones."""
    waiting: deque[Future[_Inspection | ImageError]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index in range(len(source.samples)):
            waiting.append(pool.submit(_inspect, source, index))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _oddities(file: File, inspection: _Inspection) -> Iterator[tuple[str, str]]:
    claimed = EXTENSIONS.get(PurePosixPath(file.key).suffix.lower(), inspection.format)
    if claimed != inspection.format:
        yield "misnamed", f"is {inspection.format}, but called {PurePosixPath(file.key).suffix}"
    if min(inspection.width, inspection.height) < SMALL_SIDE:
        yield "small", f"has only {inspection.width} x {inspection.height} pixels"
    if max(inspection.width, inspection.height) >= LONG_RATIO * min(inspection.width, inspection.height):
        yield "elongated", f"is {inspection.width} x {inspection.height}; a square crop shows little of it"
    if inspection.hashes.detail < BLANK_DETAIL:
        yield "blank", "has only one colour"


def _summaries(
    sources: Mapping[str, Source], files: Sequence[File], inspections: Sequence[_Inspection | ImageError]
) -> Iterator[SplitSummary]:
    counts = {split: Counter(file.label for file in files if file.split == split) for split in sources}
    every = sorted({name for count in counts.values() for name in count} | _declared(sources))
    for split, source in sources.items():
        good = [
            inspection
            for file, inspection in zip(files, inspections, strict=True)
            if file.split == split and isinstance(inspection, _Inspection)
        ]
        sides = [min(inspection.width, inspection.height) for inspection in good] or [0]
        yield SplitSummary(
            split,
            images=len(source.samples),
            bytes=sum(inspection.size for inspection in good),
            classes={name: counts[split][name] for name in every if counts[split][name]},
            missing=tuple(name for name in every if not counts[split][name]),
            formats=dict(Counter(inspection.format for inspection in good).most_common()),
            short_side=(min(sides), int(np.median(sides)), max(sides)),
            ignored=dict(getattr(source, "ignored", ())),
        )


def _declared(sources: Mapping[str, Source]) -> set[str]:
    return {name for source in sources.values() for name in source.classes}


# ------------------------------------------------------------------ duplicates


def _groups(
    sources: Mapping[str, Source], files: Sequence[File], inspections: Sequence[_Inspection | ImageError]
) -> list[Group]:
    same: defaultdict[bytes, list[int]] = defaultdict(list)
    hashes: list[Hashes] = []
    for index, inspection in enumerate(inspections):
        if isinstance(inspection, _Inspection):
            if inspection.digest not in same:
                hashes.append(inspection.hashes)
            same[inspection.digest].append(index)
    copies = list(same.values())

    @lru_cache(maxsize=1024)
    def signature_of(position: int) -> npt.NDArray[np.float32]:
        file = files[copies[position][0]]
        return signature(imaging.decode(sources[file.split].read(file.index), short_side=_HASH_SIDE))

    joined = _Partition(len(copies))
    for one, other in _candidates(hashes):
        if (
            not joined.together(one, other)
            and colour_correlation(signature_of(one), signature_of(other)) >= NEAR_CORRELATION
        ):
            joined.join(one, other)
    groups = []
    for members in joined.parts():
        chosen = sorted(index for member in members for index in copies[member])
        if len(chosen) > 1:
            groups.append(Group(tuple(files[index] for index in chosen), exact=len(members) == 1))
    return sorted(groups, key=lambda group: (not group.leak, not group.conflict, -len(group.files)))


def _candidates(hashes: Sequence[Hashes]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions in ``hashes`` that are close by both hashes."""
    seen = [position for position, one in enumerate(hashes) if one.detail >= BLANK_DETAIL]
    by_frequencies: defaultdict[int, list[int]] = defaultdict(list)
    for position in seen:
        by_frequencies[hashes[position].frequencies].append(position)
    groups = list(by_frequencies.values())
    for positions in groups:
        yield from _close_gradients(hashes, combinations(positions, 2))
    for pairs in close_pairs(np.array(list(by_frequencies), dtype=np.uint64), NEAR_FREQUENCIES):
        for one, other in pairs.tolist():
            yield from _close_gradients(hashes, product(groups[one], groups[other]))


def _close_gradients(hashes: Sequence[Hashes], pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for one, other in pairs:
        if (hashes[one].gradients ^ hashes[other].gradients).bit_count() <= NEAR_GRADIENTS:
            yield one, other


class _Partition:
    """Disjoint sets that can be joined (union-find)."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def together(self, one: int, other: int) -> bool:
        return self._top(one) == self._top(other)

    def join(self, one: int, other: int) -> None:
        a, b = self._top(one), self._top(other)
        self._above[max(a, b)] = min(a, b)

    def parts(self) -> Iterable[list[int]]:
        parts: defaultdict[int, list[int]] = defaultdict(list)
        for item in range(len(self._above)):
            parts[self._top(item)].append(item)
        return parts.values()

    def _top(self, item: int) -> int:
        while self._above[item] != item:
            self._above[item] = self._above[self._above[item]]
            item = self._above[item]
        return item


def _plain(item: Unreadable | Odd) -> dict[str, str]:
    what = {"code": item.code} if isinstance(item, Unreadable) else {"kind": item.kind}
    return {"file": item.file.name, "class": item.file.label, **what, "message": item.message}
