"""The first step: a teacher answers every picture, once."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ghostclas import imaging
from ghostclas.data.source import Source
from ghostclas.datasets.phash import perceptual_hashes
from ghostclas.download import cache_directory
from ghostclas.errors import DataError, ImageError
from ghostclas.spec import PreprocessSpec
from ghostclas.ssld.cache import Keys, LogitCache, content_key
from ghostclas.ssld.teacher import Teacher, view_of

Progress = Callable[[int, int | None], None]

LOGITS, HASHES, DETAIL = "logits", "hashes", "detail"
SHARD = 2048
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Scores:
    """A teacher's answers to the pictures of a source.

    Attributes:
        source: the pictures.
        cache: where the answers are.
        keys: content keys, uint8 ``[N, 32]``; zeros for a picture that cannot be read.
        rows: rows of the cache, int64 ``[N]``; -1 for a picture that cannot be read.
        bad: why, by the picture's key.
        scored: how many were new to the cache.
    """

    source: Source
    cache: LogitCache
    keys: Keys
    rows: npt.NDArray[np.int64]
    bad: Mapping[str, str]
    scored: int

    @property
    def readable(self) -> npt.NDArray[np.int64]:
        """Indices of the pictures that have an answer."""
        return np.flatnonzero(self.rows >= 0)

    def logits(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """Return the teacher's logits of these pictures, float16 ``[N, outputs]``."""
        return self.cache.read(LOGITS, self.rows[indices])


def open_cache(teacher: Teacher, folder: str | Path | None = None) -> LogitCache:
    """Open the cache of a teacher's answers to whole pictures.

    Args:
        teacher: whose.
        folder: where; when absent, a folder of its own in the user's cache.

    Raises:
        DataError: the folder is another teacher's, or cannot be written.
    """
    return _open(teacher, folder, view_of(teacher))


def open_view_cache(
    teacher: Teacher, view: Mapping[str, object], folder: str | Path | None = None
) -> LogitCache:
    """Open the cache of a teacher's answers to stored views, which ``view`` describes as plain JSON."""
    return _open(teacher, folder, view)


def _open(teacher: Teacher, folder: str | Path | None, view: Mapping[str, object]) -> LogitCache:
    if folder is None:
        look = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
        folder = cache_directory() / "logits" / f"{teacher.digest[:16]}-{look[:16]}"
    return LogitCache.open(
        Path(folder), teacher=teacher.name, digest=teacher.digest, outputs=teacher.outputs, view=view
    )


def score(
    teacher: Teacher,
    source: Source,
    cache: LogitCache,
    *,
    share: tuple[int, int] = (0, 1),
    max_bad: float = 0.01,
    batch_size: int = 32,
    threads: int = 1,
    progress: Progress | None = None,
) -> Scores:
    """Ask the teacher about every picture that the cache does not know.

    What was asked is on the disk after every ``SHARD`` pictures, so that the same call goes on after a stop.

    Args:
        teacher: whom to ask.
        source: the pictures.
        cache: of this teacher, from :func:`open_cache`.
        share: of several processes that divide the pictures, which one this is, and how many there are.
        max_bad: the part of the pictures that may be unreadable.
        batch_size: pictures that go through the teacher together.
        threads: how many pictures to decode at a time.
        progress: called with the pictures done and those there are.

    Raises:
        DataError: more unreadable pictures than ``max_bad`` allows, answers that are no numbers, a full disk.
    """
    total = len(source.samples)
    keys = np.zeros((total, 32), np.uint8)
    bad: dict[str, str] = {}
    mine = range(share[0], total, share[1])
    writer = _Writer(teacher, cache, batch_size)
    for done, look in enumerate(_looks(source, mine, teacher.preprocess, cache, threads), start=1):
        if isinstance(look.found, ImageError):
            bad[source.samples[look.image].key] = str(look.found)
            check_bad(bad, total, max_bad, source)
        else:
            keys[look.image] = np.frombuffer(look.key, np.uint8)
            if look.found is not None:
                writer.add(look.key, look.found)
        if progress is not None:
            progress(done, len(mine))
    writer.flush()
    known = keys.any(axis=1)
    rows = np.full(total, -1, np.int64)
    rows[known] = cache.find(keys[known])
    return Scores(source, cache, keys, rows, bad, writer.written)


def check_bad(bad: Mapping[str, str], total: int, max_bad: float, source: Source) -> None:
    """Refuse a source with too many unreadable pictures; the message counts and lists them."""
    if len(bad) > max_bad * total:
        shown = "\n".join(f"       {key}: {message}" for key, message in list(bad.items())[:5])
        raise DataError(
            f"{len(bad)} of the {total} images of {source.location} cannot be read, more than "
            f"max_bad={max_bad:g} allows, such as\n{shown}\n"
            "       repair or remove them, or raise the limit"
        )


class Fingerprint(NamedTuple):
    """What a picture looks like in 136 bits; see ``data.phash.Hashes``."""

    frequencies: int
    gradients: int
    detail: float


class _Prepared(NamedTuple):
    pixels: npt.NDArray[np.uint8]
    fingerprint: Fingerprint


class _Look(NamedTuple):
    """One picture: its content key, and its pixels, or ``None`` if the cache knows it, or why not."""

    image: int
    key: bytes
    found: _Prepared | ImageError | None


class _Writer:
    """Collects pictures into batches for the teacher, and answers into shards for the cache."""

    def __init__(self, teacher: Teacher, cache: LogitCache, batch_size: int) -> None:
        self._teacher, self._cache, self._batch_size = teacher, cache, batch_size
        self._waiting: list[tuple[bytes, _Prepared]] = []
        self._answered: list[tuple[bytes, Fingerprint, npt.NDArray[np.float16]]] = []
        self._keys: set[bytes] = set()
        self.written = 0

    def add(self, key: bytes, picture: _Prepared) -> None:
        if key in self._keys:
            return
        self._keys.add(key)
        self._waiting.append((key, picture))
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
        logits = self._teacher.run(np.stack([picture.pixels for _, picture in self._waiting]))
        for (key, picture), row in zip(self._waiting, half(logits, self._teacher), strict=True):
            self._answered.append((key, picture.fingerprint, row))
        self._waiting.clear()

    def _write(self) -> None:
        keys, prints, logits = zip(*self._answered, strict=True)
        self._cache.append(
            np.stack([np.frombuffer(key, np.uint8) for key in keys]),
            {
                LOGITS: np.stack(logits),
                HASHES: np.array([[one.frequencies, one.gradients] for one in prints], np.uint64),
                DETAIL: np.array([one.detail for one in prints], np.float32),
            },
        )
        self.written += len(keys)
        self._answered.clear()


def half(logits: npt.NDArray[np.float32], teacher: Teacher) -> npt.NDArray[np.float16]:
    """Return logits as float16, those beyond its range at its ends.

    Raises:
        DataError: some are no numbers.
    """
    if np.isnan(logits).any():
        raise DataError(f"the teacher {teacher.name} gives logits that are no numbers; its file is damaged")
    return np.clip(logits, -_LARGEST, _LARGEST).astype(np.float16)


def decode_for(data: bytes, spec: PreprocessSpec) -> _Prepared:
    """Return what ``imaging.preprocess`` does, and the picture's fingerprint, from one decoding."""
    antialiased = spec.resize.antialias and spec.resize.interpolation != "nearest"
    image = imaging.decode(data, short_side=spec.resize.short_side if antialiased else None, exif=spec.exif)
    return _Prepared(imaging.fit(image, spec), Fingerprint(*perceptual_hashes(image)))


def _looks(
    source: Source, indices: Sequence[int], spec: PreprocessSpec, cache: LogitCache, threads: int
) -> Iterator[_Look]:
    """Yield one look an image, in order, with a few in the making."""

    def look(index: int) -> _Look:
        try:
            data = source.read(index)
            key = content_key(data)
            known = cache.find(np.frombuffer(key, np.uint8)[None])[0] >= 0
            return _Look(index, key, None if known else decode_for(data, spec))
        except ImageError as error:
            return _Look(index, b"", error)

    waiting: deque[Future[_Look]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index in indices:
            waiting.append(pool.submit(look, index))
            if len(waiting) >= 8 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
