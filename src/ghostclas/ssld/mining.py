"""The second step: which pictures of a pool are worth learning from.

First everything goes that must not be learned from: pictures that are in the validation set, in whatever
form, pictures that are labelled already, and copies of others in the pool. Of the rest each class takes the
``top_k`` to which the teacher gives the highest probability of it, if that is at least ``floor``. A picture
that several classes take is listed once, under the class whose probability is highest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ghostclas import imaging
from ghostclas.data import Splits
from ghostclas.data.pool import open_pool
from ghostclas.data.source import Samples, Source, labels_of
from ghostclas.datasets.phash import distance, signature
from ghostclas.errors import DataError, ImageError
from ghostclas.files import write_bytes
from ghostclas.ssld.cache import LogitCache
from ghostclas.ssld.classmap import ClassMap, map_classes
from ghostclas.ssld.config import MineConfig
from ghostclas.ssld.duplicates import (
    DuplicateSearch,
    Fingerprints,
    ReferenceSet,
    Why,
    close_hashes,
    same_bytes,
    same_picture,
)
from ghostclas.ssld.features import SIFT_SIDE, FeatureExtractor, FeatureStore
from ghostclas.ssld.scoring import DETAIL, HASHES, Gather, Inspection, Progress, Scores, score
from ghostclas.ssld.teacher import Teacher

SCHEMA = 2
_CHUNK = 16_384


class Taken(NamedTuple):
    """A picture to learn from: its index in the pool, its class for the teacher, and how probable that is."""

    image: int
    label: int
    probability: float


class Removed(NamedTuple):
    """A picture left out: its index in the pool, where its duplicate is (``val``, ``train`` or ``pool``), the
    duplicate's index there, and how that was found."""

    image: int
    where: str
    duplicate: int
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
        passed_over: how many were readable and no duplicates, but no class took them.
        teacher_top1: the teacher's accuracy on the validation set, in percent.
        splits: where the duplicates are, for the report.
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
        """Return how many pictures were left out for a duplicate in ``val``, ``train`` or ``pool``."""
        return sum(one.where == where for one in self.removed)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values: what :func:`open_mined` reads."""
        samples = self.pool.samples
        sides = {"val": self.splits.val.samples, "train": self.splits.train.samples, "pool": samples}
        return {
            "schema": SCHEMA,
            "pool": self.location,
            "teacher": self.teacher,
            "settings": self.config.model_dump(mode="json", exclude={"pool", "cache"}),
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
                    "duplicate": sides[one.where][one.duplicate].key,
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


@dataclass(frozen=True)
class Survey:
    """A teacher's answers to all pictures, and which of the pool the validation set shows, too.

    Attributes:
        pool: the answers to the pool.
        val: those to the validation pictures.
        train: those to the labelled pictures.
        in_val: by the index in the pool, the index of the validation picture and how it was told.
    """

    pool: Scores
    val: Scores
    train: Scores
    in_val: Mapping[int, tuple[int, Why]]


def survey(
    teacher: Teacher,
    splits: Splits,
    pool: Source,
    cache: LogitCache,
    config: MineConfig,
    *,
    share: tuple[int, int] = (0, 1),
    gather: Gather | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Survey:
    """Score all pictures and search the pool for those of the validation set, reading each picture once.

    Args:
        teacher: who answers what the cache does not know.
        splits: the labelled pictures.
        pool: the others.
        cache: of this teacher.
        config: how to search, and how many pictures may be unreadable.
        share: see ``scoring.score``. Every process reads all validation pictures, and its share of the
            others.
        gather: see ``scoring.score``.
        threads: how many pictures to decode at a time.
        progress: called with the pictures done and those there are, anew for each source.

    Raises:
        DataError: too many unreadable pictures, a full disk.
        MissingExtraError: OpenCV is not installed.
    """

    def scored(source: Source, inspection: Inspection | None = None) -> Scores:
        return score(
            teacher,
            source,
            cache,
            share=share,
            gather=gather,
            inspection=inspection,
            max_bad=config.max_bad,
            threads=threads,
            progress=progress,
        )

    extract = FeatureExtractor()
    with FeatureStore() as features, ThreadPoolExecutor(threads) as executor:
        reference = ReferenceSet(extract, features)
        of_val = scored(splits.val, reference)
        of_train = scored(splits.train)
        search = DuplicateSearch(reference, extract, neighbours=config.neighbours, executor=executor)
        of_pool = scored(pool, search)
    parts = [search.found] if gather is None else gather([search.found])
    in_val = {image: match for part in parts for image, match in part.items()}
    return Survey(of_pool, of_val, of_train, in_val)


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
    """Choose the pictures of a pool to learn from. What the cache does not know is scored in the same pass.

    Args:
        teacher: who chooses.
        splits: the labelled pictures: their classes, and what must not be learned from.
        location: of the pool, for ``data.pool.open_pool``.
        cache: of this teacher.
        config: what to take.
        mapping: which of the teacher's outputs is which class; see ``classmap.map_classes``.
        threads: how many pictures to decode at a time.
        progress: see :func:`survey`.

    Raises:
        DataError: no picture in the pool, or none left; classes that the teacher does not know; too many
            unreadable pictures; a full disk.
        MissingExtraError: OpenCV is not installed.
    """
    config = config or MineConfig()
    classes = classes_of(teacher, splits, mapping)
    pool = open_pool(location)
    found = survey(teacher, splits, pool, cache, config, threads=threads, progress=progress)
    return pick(found, splits, location, teacher.name, classes, config)


def classes_of(teacher: Teacher, splits: Splits, mapping: str | Path | None) -> ClassMap:
    """Return which of a teacher's outputs is which class; see ``classmap.map_classes``."""
    return map_classes(
        teacher.labels, teacher.outputs, splits.train, teacher.name, Path(mapping) if mapping else None
    )


def pick(
    found: Survey, splits: Splits, location: str | Path, teacher: str, classes: ClassMap, config: MineConfig
) -> Mined:
    """Choose what to learn from among the pictures that were surveyed.

    Args:
        found: of the teacher.
        splits: the labelled pictures.
        location: that opens the pool again.
        teacher: what the teacher is called.
        classes: which of its outputs is which class.
        config: what to take.

    Raises:
        DataError: nothing is left to learn from.
    """
    removed = _duplicates(found, config)
    gone = {one.image for one in removed}
    left = np.array([index for index in found.pool.readable.tolist() if index not in gone], np.int64)
    taken = _take(found.pool, left, classes, config)
    pool = found.pool.source
    if not taken:
        raise DataError(
            f"nothing of the pool {location} is left to learn from: of {len(pool.samples)} images "
            f"{len(found.pool.bad)} cannot be read, {len(removed)} are duplicates, and no class took one "
            f"of the other {len(left)} at floor={config.floor:g}\n"
            "       lower distil.mine.floor, or give another pool"
        )
    return Mined(
        pool,
        str(Path(location).resolve()),
        teacher,
        config,
        tuple(splits.train.classes),
        tuple(taken),
        tuple(sorted(removed)),
        found.pool.bad,
        len(left) - len(taken),
        _top1(found.val, classes),
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


def _duplicates(found: Survey, config: MineConfig) -> list[Removed]:
    removed = {
        image: Removed(image, "val", other, why) for image, (other, why) in sorted(found.in_val.items())
    }
    pool, train = _readable(found.pool), found.train.readable
    for row, other in same_bytes(found.pool.keys[pool], found.train.keys[train]).tolist():
        image = int(pool[row])
        removed.setdefault(image, Removed(image, "train", int(train[other]), "same bytes"))
    if config.duplicates_in_pool:
        for image, first, why in _within(found.pool, set(removed)):
            removed[image] = Removed(image, "pool", first, why)
    return list(removed.values())


def _within(scores: Scores, gone: set[int]) -> Iterator[tuple[int, int, Why]]:
    """Yield the pictures of a pool, but for those gone, that an earlier one shows, too, and that one.

    Pictures whose perceptual hashes are close are read again.
    """
    images = _readable(scores)
    rows = scores.rows[images]
    pool = Fingerprints(scores.keys[images], scores.cache.read(HASHES, rows), scores.cache.read(DETAIL, rows))
    first: dict[bytes, int] = {}
    for row, image in enumerate(images.tolist()):
        key = pool.keys[row].tobytes()
        if image not in gone and first.setdefault(key, image) != image:
            gone.add(image)
            yield image, first[key], "same bytes"

    @lru_cache(maxsize=8192)
    def signature_of(image: int) -> npt.NDArray[np.float32]:
        return signature(imaging.decode(scores.source.read(image), short_side=SIFT_SIDE))

    for row, later in close_hashes(pool, pool):
        one, other = int(images[row]), int(images[later])
        if one < other and one not in gone and other not in gone:
            near = distance(pool.hashes[row], pool.hashes[later])
            try:
                same = same_picture(signature_of(one), signature_of(other), near)
            except ImageError:  # it was there when it was scored
                continue
            if same:
                gone.add(other)
                yield other, one, "same picture"


def _readable(scores: Scores) -> npt.NDArray[np.int64]:
    if not len(scores.readable):
        raise DataError(f"no image of {scores.source.location} can be read")
    return scores.readable


def reasons(mined: Mined) -> list[tuple[str, str, int]]:
    """Return how many pictures were left out for each place of the duplicate and each sign, most first."""
    counted = Counter((one.where, one.why) for one in mined.removed)
    return [(where, why, count) for (where, why), count in counted.most_common()]
