"""The first step: a teacher answers every image, in one pass that reads each image once.

An ``Inspection`` computes whatever else a step needs of an image, while its bytes are in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ghostclas import imaging
from ghostclas.cache import cache_directory
from ghostclas.data.source import Source
from ghostclas.datasets.phash import perceptual_hashes
from ghostclas.errors import DataError, ImageError
from ghostclas.spec import PreprocessSpec
from ghostclas.ssld.cache import Keys, LogitCache, content_key
from ghostclas.ssld.features import Features
from ghostclas.ssld.teacher import Teacher, view_of

Progress = Callable[[int, int | None], None]
Gather = Callable[[list[Any]], list[Any]]

LOGITS, HASHES, DETAIL = "logits", "hashes", "detail"
SHARD = 2048
_LARGEST = float(np.finfo(np.float16).max)


class Fingerprint(NamedTuple):
    """The perceptual hashes of an image, 128 bits, and its detail; see ``datasets.phash.Hashes``."""

    frequencies: int
    gradients: int
    detail: float


class Inspection(Protocol):
    """A computation on each image during scoring.

    Attributes:
        inspects_all: whether it needs every image where processes share the work, or only those of its own.
    """

    inspects_all: bool

    def inspect(self, key: bytes, data: bytes, fingerprint: Fingerprint) -> Features | None:
        """Compute from an image's content key and bytes. Several threads call it."""

    def collect(self, image: int, key: bytes, fingerprint: Fingerprint, features: Features | None) -> None:
        """Receive the images one by one, in their order."""

    def finish(self) -> None:
        """Called after the last image."""


@dataclass(frozen=True)
class Scores:
    """A teacher's logits of the images of a source.

    Attributes:
        source: the images.
        cache: holds the logits.
        keys: content keys, uint8 ``[N, 32]``; zeros for an unreadable image.
        rows: rows of the cache, int64 ``[N]``; -1 for an unreadable image.
        bad: the error of each unreadable image, by its key.
        scored: the number of images that the cache lacked.
    """

    source: Source
    cache: LogitCache
    keys: Keys
    rows: npt.NDArray[np.int64]
    bad: Mapping[str, str]
    scored: int

    @property
    def readable(self) -> npt.NDArray[np.int64]:
        """The indices of the images that have logits."""
        return np.flatnonzero(self.rows >= 0)

    def logits(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """Return the teacher's logits of these images, float16 ``[N, outputs]``."""
        return self.cache.read(LOGITS, self.rows[indices])


def open_cache(teacher: Teacher, folder: str | Path | None = None) -> LogitCache:
    """Open the cache of a teacher's logits of whole images.

    Args:
        teacher: the teacher.
        folder: the directory of the cache; when absent, one for this teacher in the user's cache.

    Raises:
        DataError: the folder is another teacher's, or cannot be written.
    """
    return _open(teacher, folder, view_of(teacher))


def open_view_cache(
    teacher: Teacher, view: Mapping[str, object], folder: str | Path | None = None
) -> LogitCache:
    """Open the cache of a teacher's logits of stored views, which ``view`` describes as plain JSON."""
    return _open(teacher, folder, view)


def _open(teacher: Teacher, folder: str | Path | None, view: Mapping[str, object]) -> LogitCache:
    if folder is None:
        described = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
        folder = cache_directory() / "logits" / f"{teacher.digest[:16]}-{described[:16]}"
    return LogitCache.open(
        Path(folder), teacher=teacher.name, digest=teacher.digest, outputs=teacher.outputs, view=view
    )


def score(
    teacher: Teacher,
    source: Source,
    cache: LogitCache,
    *,
    share: tuple[int, int] = (0, 1),
    gather: Gather | None = None,
    inspection: Inspection | None = None,
    max_bad: float = 0.01,
    batch_size: int = 32,
    threads: int = 1,
    progress: Progress | None = None,
) -> Scores:
    """Score every image that the cache lacks. Each image is read once.

    The cache is written after every ``SHARD`` images, so the same call resumes after a stop.

    Args:
        teacher: answers the images.
        source: the images.
        cache: the cache of this teacher, from :func:`open_cache`.
        share: the index of this process and the number of processes that share the images.
        gather: joins the lists of all processes; without it the result covers this share alone.
        inspection: what else is computed from each image.
        max_bad: the part of the images that may be unreadable.
        batch_size: the number of images in a batch for the teacher.
        threads: the number of images that are decoded at a time.
        progress: called with the number of images done and their total.

    Raises:
        DataError: there are more unreadable images than ``max_bad`` allows, or logits that are not finite;
            the disk is full.
    """
    total, (rank, world) = len(source.samples), share
    read_all = inspection is not None and inspection.inspects_all
    indices = range(total) if read_all else range(rank, total, world)
    keys = np.zeros((total, 32), np.uint8)
    bad: dict[str, str] = {}
    writer = _Writer(teacher, cache, batch_size)
    for done, each in enumerate(
        _read(source, indices, teacher.preprocess, cache, inspection, threads), start=1
    ):
        if isinstance(each, _Unreadable):
            bad[source.samples[each.image].key] = str(each.error)
            check_bad(bad, total, max_bad, source)
        else:
            keys[each.image] = np.frombuffer(each.key, np.uint8)
            if each.pixels is not None and each.image % world == rank:
                writer.add(each.key, each.pixels, each.fingerprint)
            if inspection is not None:
                inspection.collect(each.image, each.key, each.fingerprint, each.features)
        if progress is not None:
            progress(done, len(indices))
    writer.flush()
    if inspection is not None:
        inspection.finish()
    written = writer.written
    if gather is not None:
        parts = gather([(keys, bad, written)])
        keys = np.maximum.reduce([part[0] for part in parts])
        bad = {key: why for part in parts for key, why in part[1].items()}
        written = sum(part[2] for part in parts)
        check_bad(bad, total, max_bad, source)
        cache.refresh()
    known = keys.any(axis=1)
    rows = np.full(total, -1, np.int64)
    rows[known] = cache.find(keys[known])
    return Scores(source, cache, keys, rows, bad, written)


def check_bad(bad: Mapping[str, str], total: int, max_bad: float, source: Source) -> None:
    """Refuse a source with too many unreadable images; the message counts and lists them."""
    if len(bad) > max_bad * total:
        shown = "\n".join(f"       {key}: {message}" for key, message in list(bad.items())[:5])
        raise DataError(
            f"{len(bad)} of the {total} images of {source.location} cannot be read, more than "
            f"max_bad={max_bad:g} allows, such as\n{shown}\n"
            "       repair or remove them, or raise the limit"
        )


class _ReadImage(NamedTuple):
    """An image that was read: ``pixels`` for the teacher, or ``None`` if the cache has its logits."""

    image: int
    key: bytes
    fingerprint: Fingerprint
    pixels: npt.NDArray[np.uint8] | None
    features: Features | None


class _Unreadable(NamedTuple):
    image: int
    error: ImageError


class _Writer:
    """Collects images into batches for the teacher, and logits into shards for the cache."""

    def __init__(self, teacher: Teacher, cache: LogitCache, batch_size: int) -> None:
        self._teacher, self._cache, self._batch_size = teacher, cache, batch_size
        self._waiting: list[tuple[bytes, npt.NDArray[np.uint8], Fingerprint]] = []
        self._answered: list[tuple[bytes, Fingerprint, npt.NDArray[np.float16]]] = []
        self._keys: set[bytes] = set()
        self.written = 0

    def add(self, key: bytes, pixels: npt.NDArray[np.uint8], fingerprint: Fingerprint) -> None:
        if key in self._keys:
            return
        self._keys.add(key)
        self._waiting.append((key, pixels, fingerprint))
        if len(self._waiting) >= self._batch_size:
            self._ask()
        if len(self._answered) >= SHARD:
            self._write()

    def flush(self) -> None:
        if self._waiting:
            self._ask()
        if self._answered:
            self._write()

    def _ask(self) -> None:
        logits = self._teacher.run(np.stack([pixels for _, pixels, _ in self._waiting]))
        rows = to_float16(logits, self._teacher)
        for (key, _, fingerprint), row in zip(self._waiting, rows, strict=True):
            self._answered.append((key, fingerprint, row))
        self._waiting.clear()

    def _write(self) -> None:
        keys, fingerprints, logits = zip(*self._answered, strict=True)
        self._cache.append(
            np.stack([np.frombuffer(key, np.uint8) for key in keys]),
            {
                LOGITS: np.stack(logits),
                HASHES: np.array([each[:2] for each in fingerprints], np.uint64),
                DETAIL: np.array([each.detail for each in fingerprints], np.float32),
            },
        )
        self.written += len(keys)
        self._answered.clear()


def to_float16(logits: npt.NDArray[np.float32], teacher: Teacher) -> npt.NDArray[np.float16]:
    """Return logits as float16, clipped to its range.

    Raises:
        DataError: some are NaN.
    """
    if np.isnan(logits).any():
        raise DataError(f"the teacher {teacher.name} gives logits that are no numbers; its file is damaged")
    return np.clip(logits, -_LARGEST, _LARGEST).astype(np.float16)


def _prepare(data: bytes, spec: PreprocessSpec) -> tuple[npt.NDArray[np.uint8], Fingerprint]:
    """Return what ``imaging.preprocess`` returns, and the image's fingerprint, from one decoding."""
    smaller = spec.resize.short_side if spec.resize.shrinks_decoder else None
    image = imaging.decode(data, short_side=smaller, exif=spec.exif)
    return imaging.fit(image, spec), Fingerprint(*perceptual_hashes(image))


def _read(
    source: Source,
    indices: Sequence[int],
    spec: PreprocessSpec,
    cache: LogitCache,
    inspection: Inspection | None,
    threads: int,
) -> Iterator[_ReadImage | _Unreadable]:
    """Yield the images in order; threads prepare the next ones meanwhile."""

    def read(index: int) -> _ReadImage | _Unreadable:
        try:
            data = source.read(index)
            key = content_key(data)
            row = cache.find(np.frombuffer(key, np.uint8)[None])
            pixels = None
            if row[0] < 0:
                pixels, fingerprint = _prepare(data, spec)
            else:
                (frequencies, gradients), detail = cache.read(HASHES, row)[0], cache.read(DETAIL, row)[0]
                fingerprint = Fingerprint(int(frequencies), int(gradients), float(detail))
            features = inspection.inspect(key, data, fingerprint) if inspection is not None else None
            return _ReadImage(index, key, fingerprint, pixels, features)
        except ImageError as error:
            return _Unreadable(index, error)

    waiting: deque[Future[_ReadImage | _Unreadable]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index in indices:
            waiting.append(pool.submit(read, index))
            if len(waiting) >= 8 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
