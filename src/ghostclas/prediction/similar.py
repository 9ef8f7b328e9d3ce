"""The photos of a folder that are most like a photo, by the cosine of their features.

The features of a folder are computed once and kept in the cache folder (see ``cache``), one file for each
folder, model and engine. A photo is computed again when its size or its time of change is another; in a
``.zip``, its size or its checksum. The folder itself is only read. The file is replaced whole, also when the
work is interrupted, so another process finds the former index or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ghostclas.cache import cache_directory
from ghostclas.errors import DataError, UsageError
from ghostclas.files import read_regular, write_bytes
from ghostclas.imaging import ImageSource
from ghostclas.prediction.stored_photos import open_photos
from ghostclas.progress import Progress
from ghostclas.spec import Frozen, PredictionError

if TYPE_CHECKING:
    from ghostclas.prediction.classifier import Classifier

FOLDER = "similar"
"""The indices' part of the cache folder."""

_SCHEMA = 1
_ROWS_AT_ONCE = 16_384
_LARGEST = 2**34

Halves = NDArray[np.float16]
Ints = NDArray[np.int64]


class SimilarPhoto(Frozen):
    """A photo of the index. ``label`` is the folder it is in, ``None`` at the top of the index's folder."""

    file: str
    label: str | None
    similarity: float
    """the cosine of the two photos' features, -1 to 1"""


class Neighbours(Frozen):
    """The answer for one photo: the most similar first."""

    file: str | None
    similar: tuple[SimilarPhoto, ...] = ()
    error: PredictionError | None = None


@dataclass(frozen=True, eq=False)
class PhotoIndex:
    """The features of the photos below a folder, by one model; see the head of this module."""

    classifier: Classifier
    folder: Path
    files: Sequence[str]
    """relative to the folder, with ``/``"""
    features: Halves
    """float16 ``[N, D]``, each row of length 1"""
    bad: Mapping[str, PredictionError]
    """photos that cannot be read"""
    computed: int
    """photos whose features were not kept from before"""
    unkept: str | None
    """why the index could not be kept, if so"""

    @classmethod
    def open(
        cls,
        classifier: Classifier,
        folder: str | os.PathLike[str],
        *,
        cache: str | Path | None = None,
        progress: Progress | None = None,
    ) -> PhotoIndex:
        """Index the photos below ``folder``, or bring an earlier index up to date.

        Args:
            classifier: gives the features; its bundle's file needs that output.
            folder: a folder, or a ``.zip`` of one, with photos at any depth; the first folder below it, or
                below ``train`` or ``val``, is the label.
            cache: the cache folder; see ``cache.cache_directory``.
            progress: called with the number of photos done and the number that are to be computed.

        Raises:
            UsageError: ``folder`` is neither, or the engine gives no features.
            BundleError: the bundle's file gives no features.
            DataError: no photo in it can be read, or the archive cannot.
        """
        photos = open_photos(folder)
        stamps = found = photos.stamps
        place = _place(classifier, photos.folder, cache_directory(cache))
        kept = _Kept.read(place)
        known = {name: row for row, name in enumerate(kept.names)}
        fresh = [name for name in found if name not in known or kept.stamp(known[name]) != stamps[name]]
        rows: dict[str, Halves] = {
            name: kept.features[known[name]] for name in found.keys() - set(fresh) if name in known
        }
        bad: dict[str, PredictionError] = {}
        unkept: str | None = None
        try:
            answers = classifier.stream_features(photos.open(fresh))
            for number, (name, answer) in enumerate(zip(fresh, answers, strict=True), 1):
                if isinstance(answer, PredictionError):
                    bad[name] = photos.error(name) or answer
                else:
                    rows[name] = _unit(answer[None])[0].astype(np.float16)
                if progress:
                    progress(number, len(fresh))
        finally:
            names = [name for name in found if name in rows]
            if names and (names != kept.names or not rows.keys().isdisjoint(fresh)):
                features = np.stack([rows[name] for name in names])
                unkept = _Kept(names, np.array([stamps[name] for name in names]), features).write(place)
        if not names:
            first = next((f": {key}: {error.message}" for key, error in bad.items()), "")
            raise DataError(f"there is no photo in {photos.folder} that can be read{first}")
        return cls(
            classifier,
            photos.folder,
            names,
            np.stack([rows[name] for name in names]),
            bad,
            len(fresh),
            unkept,
        )

    def label(self, row: int) -> str | None:
        """Return the label of the photo in a row: the folder that it is in."""
        # Importing ``data`` takes longer than labelling one photo.
        from ghostclas.data.storage import SPLIT_NAMES

        folders = PurePath(self.files[row]).parts[:-1]
        if len(folders) > 1 and folders[0].lower() in SPLIT_NAMES:
            folders = folders[1:]
        return folders[0] if folders else None

    def nearest(self, photos: Iterable[ImageSource], top: int = 5) -> Iterator[Neighbours]:
        """Yield, for each photo, the ``top`` most similar ones of the index.

        A photo that is itself in the index is left out of its own answer. One that cannot be read has
        ``error`` set.

        Raises:
            UsageError: ``top`` is not positive.
        """
        if top < 1:
            raise UsageError(f"top must be at least 1, got {top}")
        asked: list[ImageSource] = []

        def remembered() -> Iterator[ImageSource]:
            for photo in photos:
                asked.append(photo)
                yield photo

        own = {os.path.realpath(self.folder / name): row for row, name in enumerate(self.files)}
        for number, answer in enumerate(self.classifier.stream_features(remembered())):
            photo = asked[number]
            path = photo if isinstance(photo, str | os.PathLike) else None
            asked[number] = b""
            name = None if path is None else os.fspath(path).encode("utf-8", "backslashreplace").decode()
            if isinstance(answer, PredictionError):
                yield Neighbours(file=name, error=answer)
                continue
            similarity = self._similarity(answer)
            if path is not None and (row := own.get(os.path.realpath(path))) is not None:
                similarity[row] = -np.inf
            best = np.argsort(-similarity, kind="stable")[:top]
            yield Neighbours(
                file=name,
                similar=tuple(
                    self._similar(row, similarity) for row in best.tolist() if similarity[row] >= -1
                ),
            )

    def _similar(self, row: int, similarity: NDArray[np.float32]) -> SimilarPhoto:
        file = str(self.folder / self.files[row]).encode("utf-8", "backslashreplace").decode()
        return SimilarPhoto(file=file, label=self.label(row), similarity=float(similarity[row]))

    def _similarity(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosine with every row, float32 ``[N]``."""
        query = _unit(features[None])[0]
        parts = [
            self.features[start : start + _ROWS_AT_ONCE].astype(np.float32) @ query
            for start in range(0, len(self.features), _ROWS_AT_ONCE)
        ]
        # Rounded rows can be a little longer than 1.
        return np.concatenate(parts).clip(-1, 1)


@dataclass(frozen=True, eq=False)
class _Kept:
    """What a file of the cache holds: one name, stamp and row of features for each photo."""

    names: list[str]
    stamps: Ints
    features: Halves

    @classmethod
    def read(cls, place: Path) -> _Kept:
        """Read the file; one that is missing or damaged holds nothing."""
        try:
            tensors = safetensors.numpy.load(read_regular(place, _LARGEST))
            names = json.loads(tensors["names"].tobytes().decode("utf-8", "surrogateescape"))
            stamps, features = tensors["stamps"], tensors["features"]
            has_shapes = stamps.shape == (len(names), 2) and features.shape[:-1] == (len(names),)
            if has_shapes and stamps.dtype == np.int64 and features.dtype == np.float16:
                return cls(names, stamps, features)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            pass
        return cls([], np.empty((0, 2), np.int64), np.empty((0, 0), np.float16))

    def write(self, place: Path) -> str | None:
        """Replace the file, and return why that is not possible where it is not."""
        names = json.dumps(self.names, ensure_ascii=False).encode("utf-8", "surrogateescape")
        tensors: dict[str, NDArray[Any]] = {
            "names": np.frombuffer(names, np.uint8),
            "stamps": self.stamps.astype(np.int64).reshape(-1, 2),
            "features": self.features,
        }
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(place, safetensors.numpy.save(tensors))
        except OSError as error:
            return f"{place}: {error.strerror or error}"
        return None

    def stamp(self, row: int) -> tuple[int, int]:
        size, changed = self.stamps[row].tolist()
        return size, changed


def _place(classifier: Classifier, folder: Path, cache: Path) -> Path:
    """Return where the index of a folder is kept for what gives the features."""
    bundle = classifier.bundle
    identity = [
        _SCHEMA,
        os.path.realpath(folder),
        [entry.sha256 for entry in bundle.manifest.files if entry.features is not None],
        bundle.preprocess.model_dump(mode="json"),
        classifier.engine.name,
        classifier.engine.inference_precision,
    ]
    text = json.dumps(identity, sort_keys=True).encode("utf-8", "surrogateescape")
    return cache / FOLDER / f"{hashlib.sha256(text).hexdigest()[:32]}.safetensors"


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return scaled
