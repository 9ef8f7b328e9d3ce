"""The second step: which pictures of a pool are worth learning from.

First everything goes that must not be learned from: pictures that are in the validation set, in whatever
form, pictures that are labelled already, and copies of others in the pool. Of the rest each class takes the
``top_k`` to which the teacher gives the highest probability of it, if that is at least ``floor``. A picture
that several classes take is listed once, under the class whose probability is highest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ghostclas.data import Splits
from ghostclas.data.pool import open_pool
from ghostclas.data.source import Samples, Source, labels_of
from ghostclas.errors import DataError, ImageError
from ghostclas.files import write_bytes
from ghostclas.ssld.cache import LogitCache
from ghostclas.ssld.classmap import ClassMap, map_classes
from ghostclas.ssld.config import MineConfig
from ghostclas.ssld.duplicates import (
    AT_A_TIME,
    Confirmer,
    Prints,
    Why,
    close_hashes,
    roughly_close,
    same_bytes,
)
from ghostclas.ssld.features import UNSEEN, Gallery, Look
from ghostclas.ssld.score import DETAIL, HASHES, Scores, score
from ghostclas.ssld.teacher import Teacher

Progress = Callable[[int, int | None], None]

SCHEMA = 1
_CHUNK = 16_384


class Taken(NamedTuple):
    """A picture to learn from: its index in the pool, its class for the teacher, and how probable that is."""

    image: int
    label: int
    probability: float


class Removed(NamedTuple):
    """A picture left out: its index in the pool, where its double is (``val``, ``train`` or ``pool``), the
    double's index there, and how that was found."""

    image: int
    where: str
    double: int
    why: Why


@dataclass(frozen=True)
class Mined:
    """What was taken from a pool and what was left out.

    Attributes:
        pool: the pictures.
        location: the path that opens them again.
        teacher: who chose.
        config: by which settings.
        classes: names by index.
        taken: in the order of the pool.
        removed: duplicates, in the order of the pool.
        unread: pictures that cannot be read, and why, by key.
        passed_over: how many were readable and no double, but no class took them.
        teacher_top1: the teacher's accuracy on the validation set, in percent.
        splits: where the doubles are, for the report.
    """

    pool: Source
    location: str
    teacher: str
    config: MineConfig
    classes: tuple[str, ...]
    taken: tuple[Taken, ...]
    removed: tuple[Removed, ...]
    unread: Mapping[str, str]
    passed_over: int
    teacher_top1: float
    splits: Splits = field(repr=False)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Pictures taken for each class, int64 ``[C]``."""
        return np.bincount([one.label for one in self.taken], minlength=len(self.classes))

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Classes for which nothing was taken."""
        return tuple(name for name, count in zip(self.classes, self.counts, strict=True) if not count)

    def removed_from(self, where: str) -> int:
        """Return how many pictures were left out for a double in ``val``, ``train`` or ``pool``."""
        return sum(one.where == where for one in self.removed)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values: what :func:`open_mined` reads."""
        samples = self.pool.samples
        sides = {"val": self.splits.val.samples, "train": self.splits.train.samples, "pool": samples}
        return {
            "schema": SCHEMA,
            "pool": self.location,
            "teacher": self.teacher,
            "settings": self.config.model_dump(mode="json"),
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
            "images": [
                {
                    "file": samples[one.image].key,
                    "class": self.classes[one.label],
                    "probability": round(one.probability, 6),
                }
                for one in self.taken
            ],
            "removed": [
                {
                    "file": samples[one.image].key,
                    "where": one.where,
                    "double": sides[one.where][one.double].key,
                    "why": one.why,
                }
                for one in self.removed
            ],
            "unread": dict(self.unread),
            "passed_over": self.passed_over,
            "teacher_top1": round(self.teacher_top1, 2),
        }

    def write(self, folder: Path) -> Path:
        """Write ``mined.json``, and the same as a PaddleClas list, ``mined_list.txt``; return the former.

        Raises:
            DataError: the folder cannot be written.
        """
        samples = self.pool.samples
        lines = "".join(f"{samples[one.image].key}\t{one.label}\n" for one in self.taken)
        path = folder / "mined.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / "mined_list.txt", lines.encode("utf-8", "surrogateescape"))
            write_bytes(path, json.dumps(self.to_json(), ensure_ascii=False, indent=1).encode() + b"\n")
        except OSError as error:
            raise DataError(f"cannot write to {folder}: {error.strerror}") from None
        return path


@dataclass(frozen=True, eq=False)
class Picked:
    """Some pictures of a pool with the teacher's classes: a :class:`~ghostclas.data.source.Source`."""

    pool: Source
    indices: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    samples: Samples

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return self.pool.location

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``."""
        return self.pool.read(int(self.indices[index]))


def mine(
    teacher: Teacher,
    splits: Splits,
    location: str | Path,
    cache: LogitCache,
    config: MineConfig | None = None,
    *,
    mapping: str | Path | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Mined:
    """Choose the pictures of a pool to learn from. What the cache does not know is scored first.

    Args:
        teacher: who chooses.
        splits: the labelled pictures: their classes, and what must not be learned from.
        location: of the pool, for ``data.pool.open_pool``.
        cache: of this teacher.
        config: what to take.
        mapping: which of the teacher's outputs is which class; see ``classmap.map_classes``.
        threads: how many pictures to decode at a time.
        progress: called with the steps done and those there are, anew for each part of the work.

    Raises:
        DataError: no picture in the pool, or none left; classes that the teacher does not know; too many
            unreadable pictures; a full disk.
        MissingExtraError: OpenCV is not installed.
    """
    config = config or MineConfig()
    pool = open_pool(location)
    classes = map_classes(
        teacher.labels, teacher.outputs, splits.train, teacher.name, Path(mapping) if mapping else None
    )

    def scored(source: Source) -> Scores:
        return score(teacher, source, cache, max_bad=config.max_bad, threads=threads, progress=progress)

    of_pool, of_val, of_train = scored(pool), scored(splits.val), scored(splits.train)
    removed = _doubles(of_pool, of_val, of_train, config, threads, progress)
    gone = {one.image for one in removed}
    left = np.array([index for index in of_pool.readable.tolist() if index not in gone], np.int64)
    taken = _take(of_pool, left, classes, config)
    if not taken:
        raise DataError(
            f"nothing of the pool {location} is left to learn from: of {len(pool.samples)} images "
            f"{len(of_pool.bad)} cannot be read, {len(removed)} are doubles, and no class took one "
            f"of the other {len(left)} at floor={config.floor:g}\n"
            "       lower distil.mine.floor, or give another pool"
        )
    return Mined(
        pool,
        str(Path(location).resolve()),
        teacher.name,
        config,
        tuple(splits.train.classes),
        tuple(taken),
        tuple(sorted(removed)),
        of_pool.bad,
        len(left) - len(taken),
        _top1(of_val, classes),
        splits,
    )


def open_mined(file: str | Path, classes: Sequence[str]) -> Picked:
    """Open the pictures that a ``mined.json`` lists, with the teacher's classes as their labels.

    Raises:
        DataError: it is no such list, is for other classes, or names pictures that the pool no longer has.
    """
    file = Path(file)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        names, images = document["classes"], document["images"]
        wanted = [(image["file"], names.index(image["class"])) for image in images]
        location = document["pool"]
    except OSError as error:
        raise DataError(f"cannot read the mined list {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file} is no list that ghostclas ssld mine wrote") from None
    if tuple(names) != tuple(classes):
        raise DataError(
            f"{file} was mined for other classes than those of the labelled data; mine again for them"
        )
    pool = open_pool(location)
    index = {sample.key: i for i, sample in enumerate(pool.samples)}
    lost = [key for key, _ in wanted if key not in index]
    if lost:
        raise DataError(
            f"{len(lost)} images of {file} are no longer in {location}, such as {lost[0]!r}; mine again"
        )
    return Picked(
        pool, np.array([index[key] for key, _ in wanted], np.int64), tuple(classes), Samples(wanted)
    )


def _take(of_pool: Scores, left: npt.NDArray[np.int64], classes: ClassMap, config: MineConfig) -> list[Taken]:
    """Return what the classes take of the pictures ``left``, in the order of the pool."""
    count = len(classes.columns)
    best = np.empty((0, count), np.float32)
    whose = np.empty((0, count), np.int64)
    for start in range(0, len(left), _CHUNK):
        indices = left[start : start + _CHUNK]
        values = np.concatenate([best, classes.probabilities(of_pool.logits(indices))])
        numbers = np.concatenate([whose, np.broadcast_to(indices[:, None], (len(indices), count))])
        kept = np.argsort(-values, axis=0, kind="stable")[: config.top_k]
        best = np.take_along_axis(values, kept, axis=0)
        whose = np.take_along_axis(numbers, kept, axis=0)
    chosen: dict[int, Taken] = {}
    for rank, label in np.argwhere(best >= config.floor).tolist():
        one = Taken(int(whose[rank, label]), label, float(best[rank, label]))
        if one.image not in chosen or one.probability > chosen[one.image].probability:
            chosen[one.image] = one
    return [chosen[index] for index in sorted(chosen)]


def _top1(scores: Scores, classes: ClassMap) -> float:
    readable = scores.readable
    labels = labels_of(scores.source.samples)[readable]
    best = classes.logits(scores.logits(readable)).argmax(axis=1)
    return 100 * float((best == labels).mean())


def _doubles(
    of_pool: Scores,
    of_val: Scores,
    of_train: Scores,
    config: MineConfig,
    threads: int,
    progress: Progress | None,
) -> list[Removed]:
    pool, pool_index = _prints(of_pool)
    val, val_index = _prints(of_val)
    found: dict[int, Removed] = {}

    def remove(index: int, where: str, double: int, why: Why) -> None:
        found.setdefault(index, Removed(int(pool_index[index]), where, double, why))

    for index, other in same_bytes(pool.keys, val.keys).tolist():
        remove(index, "val", int(val_index[other]), "same bytes")
    for index, other, why in _in_val(pool, val, set(found), config.neighbours, threads, progress):
        remove(index, "val", int(val_index[other]), why)
    readable = of_train.readable
    for index, other in same_bytes(pool.keys, of_train.keys[readable]).tolist():
        remove(index, "train", int(readable[other]), "same bytes")
    if config.duplicates_in_pool:
        for index, first, why in _within(pool, found):
            remove(index, "pool", int(pool_index[first]), why)
    return list(found.values())


def _in_val(
    pool: Prints,
    val: Prints,
    known: Set[int],
    neighbours: int,
    threads: int,
    progress: Progress | None,
) -> Iterator[tuple[int, int, Why]]:
    """Yield the pictures of a pool, but for the known, that a validation picture shows, too, and that one."""
    rough: dict[int, list[int]] = {}
    for index, other in roughly_close(pool, val):
        rough.setdefault(index, []).append(other)
    summed = len(val.keys) if neighbours else 0
    order = [index for index in range(len(pool.keys)) if index not in known and (summed or index in rough)]
    confirmer = Confirmer(pool, val)

    def double(index: int, alike: Sequence[int]) -> tuple[int, Why] | None:
        for other in dict.fromkeys([*rough.get(index, ()), *alike]):
            if why := _confirmed(confirmer, index, other):
                return other, why
        return None

    def count(done: int) -> None:
        if progress is not None:
            progress(done, summed + len(order))

    with ThreadPoolExecutor(threads) as executor:
        gallery = Gallery(partial(_seen, confirmer.look_at_other), summed, executor, count)
        for start in range(0, len(order), AT_A_TIME):
            some = order[start : start + AT_A_TIME]
            looks = list(executor.map(partial(_seen, confirmer.look), some))
            alike = gallery.nearest(looks, neighbours)
            for index, match in zip(some, executor.map(double, some, alike), strict=True):
                if match is not None:
                    yield index, *match
            count(summed + start + len(some))


def _seen(look: Callable[[int], Look], index: int) -> Look:
    try:
        return look(index)
    except ImageError:  # it was there when it was scored
        return UNSEEN


def _within(pool: Prints, found: Mapping[int, Removed]) -> Iterator[tuple[int, int, Why]]:
    """Yield the pictures of a pool that an earlier one shows, too, and that one."""
    gone = set(found)
    first: dict[bytes, int] = {}
    for index, key in enumerate(pool.keys):
        if index not in gone and first.setdefault(key.tobytes(), index) != index:
            gone.add(index)
            yield index, first[key.tobytes()], "same bytes"
    confirmer = Confirmer(pool, pool)
    for one, other in close_hashes(pool, pool):
        if one < other and one not in gone and other not in gone:
            why = _confirmed(confirmer, one, other, by_scene=False)
            if why:
                gone.add(other)
                yield other, one, why


def _confirmed(confirmer: Confirmer, index: int, other: int, *, by_scene: bool = True) -> Why | None:
    try:
        return confirmer.confirm(index, other, by_scene=by_scene)
    except ImageError:  # it was there when it was scored
        return None


def _prints(scores: Scores) -> tuple[Prints, npt.NDArray[np.int64]]:
    """Return what is known of the readable pictures, and their indices in the source."""
    readable = scores.readable
    rows = scores.rows[readable]
    if not len(readable):
        raise DataError(f"no image of {scores.source.location} can be read")
    prints = Prints(
        scores.keys[readable],
        scores.cache.read(HASHES, rows),
        scores.cache.read(DETAIL, rows),
        lambda index: scores.source.read(int(readable[index])),
    )
    return prints, readable


def reasons(mined: Mined) -> list[tuple[str, str, int]]:
    """Return how many pictures were left out for each double's place and each sign, most first."""
    counted = Counter((one.where, one.why) for one in mined.removed)
    return [(where, why, count) for (where, why), count in counted.most_common()]
