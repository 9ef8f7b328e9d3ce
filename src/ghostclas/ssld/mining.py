"""The second step: the choice of images in a pool to learn from.

Duplicates go first: images of the validation set in any form, labelled images, and copies within the pool. Of
the rest each class takes the ``top_k`` images with the teacher's highest probability of it, if that is at
least ``floor``. An image that several classes take is listed once, under its most probable class.
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
from ghostclas.data.labels import MAX_LIST_BYTES
from ghostclas.data.pool import open_pool
from ghostclas.data.source import Samples, Source, labels_of
from ghostclas.datasets.phash import distance, signature
from ghostclas.errors import DataError, ImageError
from ghostclas.files import read_regular, write_bytes
from ghostclas.ssld.cache import LogitCache
from ghostclas.ssld.classmap import ClassMap, map_classes
from ghostclas.ssld.config import MineConfig
from ghostclas.ssld.duplicates import (
    DuplicateSearch,
    Fingerprints,
    MatchKind,
    ReferenceSet,
    close_hashes,
    same_bytes,
    same_image,
)
from ghostclas.ssld.features import SIFT_SIDE, FeatureExtractor, FeatureStore
from ghostclas.ssld.scoring import DETAIL, HASHES, Gather, Inspection, Progress, Scores, score
from ghostclas.ssld.teacher import Teacher

SCHEMA = 2
_CHUNK = 16_384


class MinedImage(NamedTuple):
    """A mined image: its index in the pool, the teacher's class and its probability."""

    image: int
    label: int
    probability: float


class RemovedImage(NamedTuple):
    """An image left out as a duplicate: its index in the pool, where its duplicate is (``val``, ``train`` or
    ``pool``), the duplicate's index there, and the kind of match."""

    image: int
    where: str
    duplicate: int
    why: MatchKind


@dataclass(frozen=True)
class Mined:
    """The result of mining a pool.

    Attributes:
        pool: the unlabelled images.
        location: the path that opens them again.
        teacher: the name of the teacher.
        config: the settings of mining.
        classes: names by index.
        taken: the mined images, in the order of the pool.
        removed: the duplicates, in the order of the pool.
        unread: the error of each unreadable image, by key.
        passed_over: the number of readable images without duplicates that no class took.
        teacher_top1: the teacher's accuracy on the validation set, in percent.
        splits: the labelled images, which the report shows beside their duplicates.
    """

    pool: Source
    location: str
    teacher: str
    config: MineConfig
    classes: tuple[str, ...]
    taken: tuple[MinedImage, ...]
    removed: tuple[RemovedImage, ...]
    unread: Mapping[str, str]
    passed_over: int
    teacher_top1: float
    splits: Splits = field(repr=False)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of mined images of each class, int64 ``[C]``."""
        return np.bincount([one.label for one in self.taken], minlength=len(self.classes))

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """The classes without a mined image."""
        return tuple(name for name, count in zip(self.classes, self.counts, strict=True) if not count)

    def removed_from(self, where: str) -> int:
        """Return the number of images left out as duplicates of one in ``val``, ``train`` or ``pool``."""
        return sum(one.where == where for one in self.removed)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON, which :func:`open_mined` reads."""
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
        # What no UTF-8 holds, as in some names of files, JSON can say.
        document = json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / "mined_list.txt", lines.encode("utf-8", "surrogateescape"))
            write_bytes(path, document.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise DataError(f"cannot write to {folder}: {error.strerror}") from None
        return path


@dataclass(frozen=True, eq=False)
class MinedSource:
    """Mined images of a pool with the teacher's classes: a :class:`~ghostclas.data.source.Source`."""

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
    """A teacher's logits of all images, and the images of the pool that duplicate validation images.

    Attributes:
        pool: the logits of the pool.
        val: the logits of the validation images.
        train: the logits of the training images.
        in_val: by index in the pool, the index of the validation image and the kind of match.
    """

    pool: Scores
    val: Scores
    train: Scores
    in_val: Mapping[int, tuple[int, MatchKind]]


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
    """Score all images and search the pool for those of the validation set, reading each image once.

    Args:
        teacher: answers the images that the cache lacks.
        splits: the labelled images.
        pool: the unlabelled images.
        cache: the cache of this teacher.
        config: the settings of the search, and the limit of unreadable images.
        share: see ``scoring.score``. Every process reads all validation images, and its share of the others.
        gather: see ``scoring.score``.
        threads: the number of images that are decoded at a time.
        progress: called for each source with the number of images done and their total.

    Raises:
        DataError: there are too many unreadable images, or the disk is full.
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
    """Choose the images of a pool to learn from. The same pass scores what the cache lacks.

    Args:
        teacher: chooses by its probabilities.
        splits: the labelled images: their classes, and what the pool must not duplicate.
        location: the path of the pool, for ``data.pool.open_pool``.
        cache: the cache of this teacher.
        config: the settings of mining.
        mapping: the file that maps the teacher's outputs to classes; see ``classmap.map_classes``.
        threads: the number of images that are decoded at a time.
        progress: see :func:`survey`.

    Raises:
        DataError: the pool holds no image, or none is left; the teacher does not know a class; there are too
            many unreadable images; the disk is full.
        MissingExtraError: OpenCV is not installed.
    """
    config = config or MineConfig()
    classes = classes_of(teacher, splits, mapping)
    pool = open_pool(location)
    found = survey(teacher, splits, pool, cache, config, threads=threads, progress=progress)
    return select_images(found, splits, location, teacher.name, classes, config)


def classes_of(teacher: Teacher, splits: Splits, mapping: str | Path | None) -> ClassMap:
    """Map a teacher's outputs to the classes; see ``classmap.map_classes``."""
    return map_classes(
        teacher.labels, teacher.outputs, splits.train, teacher.name, Path(mapping) if mapping else None
    )


def select_images(
    found: Survey, splits: Splits, location: str | Path, teacher: str, classes: ClassMap, config: MineConfig
) -> Mined:
    """Choose what to learn from among surveyed images.

    Args:
        found: the survey with this teacher.
        splits: the labelled images.
        location: the path that opens the pool again.
        teacher: the teacher's name.
        classes: the mapping from its outputs to the classes.
        config: the settings of mining.

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


def open_mined(file: str | Path, classes: Sequence[str]) -> MinedSource:
    """Open the images that a ``mined.json`` lists, with the teacher's classes as their labels.

    Raises:
        DataError: the file is no such list, is for other classes, or names images that the pool no longer
            has.
    """
    file = Path(file)
    try:
        document = json.loads(read_regular(file, MAX_LIST_BYTES))
        location, names = document["pool"], document["classes"]
        number = {name: index for index, name in enumerate(names)}
        wanted = [(image["file"], number[image["class"]]) for image in document["images"]]
        samples = Samples(wanted)
        if not isinstance(location, str) or not location:
            raise TypeError("the pool is no path")
    except OSError as error:
        raise DataError(f"cannot read the mined list {file}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{file} is not a list that ghostclas ssld mine wrote") from None
    if tuple(names) != tuple(classes):
        raise DataError(
            f"{file} was mined for other classes than those of the labelled data; mine again for them"
        )
    pool = open_pool(location)
    index = {sample.key: i for i, sample in enumerate(pool.samples)}
    lost = [key for key, _ in wanted if key not in index]
    if lost:
        raise DataError(
            f"{len(lost)} images of {file} are no longer in {location}, such as {lost[0][:1000]!r}; "
            "mine again"
        )
    return MinedSource(pool, np.array([index[key] for key, _ in wanted], np.int64), tuple(classes), samples)


def _take(
    of_pool: Scores, left: npt.NDArray[np.int64], classes: ClassMap, config: MineConfig
) -> list[MinedImage]:
    """Return the images of ``left`` that the classes take, in the order of the pool."""
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
    chosen: dict[int, MinedImage] = {}
    for rank, label in np.argwhere(best >= config.floor).tolist():
        one = MinedImage(int(whose[rank, label]), label, float(best[rank, label]))
        if one.image not in chosen or one.probability > chosen[one.image].probability:
            chosen[one.image] = one
    return [chosen[index] for index in sorted(chosen)]


def _top1(scores: Scores, classes: ClassMap) -> float:
    readable = scores.readable
    labels = labels_of(scores.source.samples)[readable]
    best = classes.logits(scores.logits(readable)).argmax(axis=1)
    return 100 * float((best == labels).mean())


def _duplicates(found: Survey, config: MineConfig) -> list[RemovedImage]:
    removed = {
        image: RemovedImage(image, "val", other, why) for image, (other, why) in sorted(found.in_val.items())
    }
    pool, train = _readable(found.pool), found.train.readable
    for row, other in same_bytes(found.pool.keys[pool], found.train.keys[train]).tolist():
        image = int(pool[row])
        removed.setdefault(image, RemovedImage(image, "train", int(train[other]), "same bytes"))
    if config.duplicates_in_pool:
        for image, first, why in _within(found.pool, set(removed)):
            removed[image] = RemovedImage(image, "pool", first, why)
    return list(removed.values())


def _within(scores: Scores, gone: set[int]) -> Iterator[tuple[int, int, MatchKind]]:
    """Yield each image of a pool that duplicates an earlier one, and that one. ``gone`` images are skipped.

    Images with close perceptual hashes are read again.
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
                same = same_image(signature_of(one), signature_of(other), near)
            except ImageError:  # removed since it was scored
                continue
            if same:
                gone.add(other)
                yield other, one, "same picture"


def _readable(scores: Scores) -> npt.NDArray[np.int64]:
    if not len(scores.readable):
        raise DataError(f"no image of {scores.source.location} can be read")
    return scores.readable


def reasons(mined: Mined) -> list[tuple[str, str, int]]:
    """Return the number of images left out for each duplicate's place and kind of match, most first."""
    counted = Counter((one.where, one.why) for one in mined.removed)
    return [(where, why, count) for (where, why), count in counted.most_common()]
