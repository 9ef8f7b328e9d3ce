"""Which pictures of a pool show the same photograph as pictures that are measured on, or as each other.

Candidates come cheaply, from three signs: the same bytes, perceptual hashes that are close, and features
that are alike (``ssld.features``), which finds what was cut off at the edges, too. Each candidate is then
confirmed by comparing both pictures: in colour as a whole, as ``ghostclas.datasets.audit`` does, or by SIFT
features that agree on one affine transform (found by RANSAC) under which the pictures' grey values correlate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ghostclas.datasets.audit import BLANK_DETAIL, NEAR_FREQUENCIES, NEAR_GRADIENTS, NEAR_LIKENESS
from ghostclas.datasets.phash import close_pairs, distance, likeness
from ghostclas.extras import require
from ghostclas.ssld.features import NO_FEATURES, FeatureExtractor, Features, FeatureStore, Gallery, matches
from ghostclas.ssld.scoring import Fingerprint

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]
Why = Literal["same bytes", "same picture", "same scene by SIFT"]

ROUGH_FREQUENCIES = 20
ROUGH_GRADIENTS = 12
ROUGH_LIKENESS = 0.93
"""Where SIFT may look, too, a picture is the same if its gradients are about the same and its colours at
16 x 16 correlate so.
"""

MIN_INLIERS = 8
RANSAC_PIXELS = 3.0
SCALE = (0.35, 2.9)
MIN_OVERLAP = 0.3
"""The part of the smaller picture that lies in the other one."""
MIN_CORRELATION = 0.9
EXPOSURES = (1.0, 1.2, 1.4, 1.6)
"""What one of them may have been brightened by: what was bright is white in it, and no more correlates."""

AT_A_TIME = 128
"""Pictures of a pool that are compared at a time."""

_PAIRS = 1 << 21


@dataclass(frozen=True)
class Fingerprints:
    """What is known of a set of pictures without opening them.

    Attributes:
        keys: content keys, uint8 ``[N, 32]``.
        hashes: perceptual hashes, uint64 ``[N, 2]``: by frequencies and by gradients.
        detail: float32 ``[N]``; see ``datasets.phash.Hashes``.
    """

    keys: UInt8
    hashes: npt.NDArray[np.uint64]
    detail: Float32

    @classmethod
    def of(cls, keys: Sequence[bytes], fingerprints: Sequence[Fingerprint]) -> Fingerprints:
        """Put the fingerprints of single pictures together."""
        return cls(
            np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1),
            np.array([each[:2] for each in fingerprints], np.uint64).reshape(-1, 2),
            np.array([each.detail for each in fingerprints], np.float32),
        )


def same_bytes(one: UInt8, other: UInt8) -> Pairs:
    """Return the pairs of rows that are equal, int64 ``[M, 2]``, each row of ``one`` at most once."""
    first = {key.tobytes(): index for index, key in reversed(list(enumerate(other)))}
    pairs = [(i, first[key.tobytes()]) for i, key in enumerate(one) if key.tobytes() in first]
    return np.array(pairs, np.int64).reshape(-1, 2)


def close_hashes(one: Fingerprints, other: Fingerprints) -> Iterator[tuple[int, int]]:
    """Yield pairs whose perceptual hashes are close, as in ``datasets.audit``; blank ones have none."""
    hashes = np.concatenate([one.hashes, other.hashes])
    detail = np.concatenate([one.detail, other.detail])
    seen = np.flatnonzero(detail >= BLANK_DETAIL)
    distinct, inverse = np.unique(hashes[seen, 0], return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    groups = np.split(seen[order], np.flatnonzero(np.diff(inverse[order])) + 1)
    itself = np.arange(len(distinct))
    blocks = [np.stack([itself, itself], axis=1), *close_pairs(distinct, NEAR_FREQUENCIES)]
    for pairs in blocks:
        for a, b in pairs.tolist():
            yield from _across(groups[a], groups[b], len(one.keys), hashes)
            if a != b:
                yield from _across(groups[b], groups[a], len(one.keys), hashes)


def roughly_close(one: Fingerprints, other: Fingerprints) -> Iterator[tuple[int, int]]:
    """Yield pairs whose perceptual hashes are not far apart; each picture is held against each."""
    seen = one.detail >= BLANK_DETAIL
    block = max(1, _PAIRS // max(1, len(one.keys)))
    for start in range(0, len(other.keys), block):
        theirs = other.hashes[start : start + block, None]
        near = seen & (distance(one.hashes[None, :, 1], theirs[..., 1]) <= ROUGH_GRADIENTS)
        for row, index in np.argwhere(near).tolist():
            if distance(one.hashes[index, 0], other.hashes[start + row, 0]) <= ROUGH_FREQUENCIES:
                yield index, start + row


class ReferenceSet:
    """Pictures that others are searched for: an ``Inspection`` of the source that they are in.

    Attributes:
        images: their indices in the source.
        by_key: the same by content key; of equal files the first.
        features: of each, in the store that was given.
    """

    inspects_all = True

    def __init__(self, extract: FeatureExtractor, features: FeatureStore) -> None:
        self._extract = extract
        self._keys: list[bytes] = []
        self._fingerprints: list[Fingerprint] = []
        self.images: list[int] = []
        self.by_key: dict[bytes, int] = {}
        self.features = features

    def inspect(self, key: bytes, data: bytes, fingerprint: Fingerprint) -> Features:
        """Return a picture's features."""
        return self._extract(data)

    def collect(self, image: int, key: bytes, fingerprint: Fingerprint, features: Features | None) -> None:
        """Add a picture."""
        self.images.append(image)
        self.by_key.setdefault(key, image)
        self._keys.append(key)
        self._fingerprints.append(fingerprint)
        self.features.append(features or NO_FEATURES)

    def finish(self) -> None:
        """Nothing waits."""

    def fingerprints(self) -> Fingerprints:
        """Return the fingerprints of all pictures."""
        return Fingerprints.of(self._keys, self._fingerprints)


class DuplicateSearch:
    """Finds which pictures of a source a reference set shows, too: an ``Inspection`` of that source.

    Attributes:
        found: by the picture's index, the index of the reference picture and how it was told.
    """

    inspects_all = False

    def __init__(
        self, reference: ReferenceSet, extract: FeatureExtractor, *, neighbours: int, executor: Executor
    ) -> None:
        self._reference, self._extract, self._executor = reference, extract, executor
        self._neighbours = neighbours
        self._theirs = reference.fingerprints()
        self._gallery = Gallery(reference.features if neighbours else ())
        self._waiting: list[tuple[int, bytes, Fingerprint, Features]] = []
        self.found: dict[int, tuple[int, Why]] = {}

    def inspect(self, key: bytes, data: bytes, fingerprint: Fingerprint) -> Features | None:
        """Return a picture's features where they are needed."""
        if key in self._reference.by_key:
            return None
        if not self._neighbours and not any(
            roughly_close(Fingerprints.of([key], [fingerprint]), self._theirs)
        ):
            return None
        return self._extract(data)

    def collect(self, image: int, key: bytes, fingerprint: Fingerprint, features: Features | None) -> None:
        """Search for a picture; pictures are compared ``AT_A_TIME``."""
        same = self._reference.by_key.get(key)
        if same is not None:
            self.found[image] = (same, "same bytes")
        elif features is not None:
            self._waiting.append((image, key, fingerprint, features))
            if len(self._waiting) == AT_A_TIME:
                self.finish()

    def finish(self) -> None:
        """Search for the pictures that wait."""
        if not self._waiting:
            return
        images, keys, fingerprints, features = zip(*self._waiting, strict=True)
        self._waiting.clear()
        ours = Fingerprints.of(keys, fingerprints)
        candidates: list[list[int]] = [[] for _ in images]
        for row, other in roughly_close(ours, self._theirs):
            candidates[row].append(other)
        for row, others in enumerate(self._gallery.nearest(features, self._neighbours)):
            candidates[row] += others

        def first(row: int) -> tuple[int, Why] | None:
            for other in dict.fromkeys(candidates[row]):
                theirs = self._reference.features[other]
                near = distance(ours.hashes[row], self._theirs.hashes[other])
                if why := same_photograph(features[row], theirs, near):
                    return self._reference.images[other], why
            return None

        for image, match in zip(images, self._executor.map(first, range(len(images))), strict=True):
            if match is not None:
                self.found[image] = match


def same_picture(one: Float32, other: Float32, near: UInt8) -> bool:
    """Whether two whole pictures are the same photograph.

    Args:
        one: a signature; see ``datasets.phash.signature``.
        other: that of the other picture.
        near: the distances of their two perceptual hashes.
    """
    by_hash = near[0] <= NEAR_FREQUENCIES and near[1] <= NEAR_GRADIENTS
    return bool(by_hash and likeness(one, other) >= NEAR_LIKENESS)


def same_photograph(one: Features, other: Features, near: UInt8) -> Why | None:
    """Return why two pictures, of which each may be a part, are the same photograph, or ``None``."""
    if same_picture(one.signature, other.signature, near):
        return "same picture"
    alike = likeness(_coarse(one.signature), _coarse(other.signature)) >= ROUGH_LIKENESS
    if alike and near[1] <= ROUGH_GRADIENTS:
        return "same picture"
    return "same scene by SIFT" if _same_scene(one, other) else None


def _same_scene(a: Features, b: Features) -> bool:
    cv2: Any = require("cv2", extra="ssld")
    if min(len(a.points), len(b.points)) < MIN_INLIERS:
        return False
    nearest, distinct = matches(a.descriptors, b.descriptors)
    if distinct.sum() < MIN_INLIERS:
        return False
    cv2.setRNGSeed(0)
    transform, inliers = cv2.estimateAffine2D(
        a.points[distinct],
        b.points[nearest[distinct]],
        method=cv2.RANSAC,
        ransacReprojThreshold=RANSAC_PIXELS,
    )
    if transform is None or int(inliers.sum()) < MIN_INLIERS or not _upright(transform):
        return False
    height, width = b.grey.shape
    moved = cv2.warpAffine(a.grey, transform, (width, height), flags=cv2.INTER_LINEAR)
    covered = cv2.warpAffine(np.full(a.grey.shape, 255, np.uint8), transform, (width, height)) == 255
    scale = abs(float(np.linalg.det(transform[:, :2])))
    smaller = min(a.grey.size * scale, b.grey.size)
    if covered.sum() < MIN_OVERLAP * smaller:
        return False
    return bool(_best_correlation(moved[covered], b.grey[covered]) >= MIN_CORRELATION)


def _coarse(signature_of: Float32) -> Float32:
    """Return a signature ``[32, 32, 3]`` at half its size, in which how a copy was scaled no longer shows."""
    return np.asarray(signature_of.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3)), np.float32)


def _upright(transform: npt.NDArray[np.float64]) -> bool:
    """Whether a transform only scales, a little differently both ways at most: copies are not turned."""
    a, b, c, d = map(float, transform[:, :2].ravel())
    return (
        SCALE[0] <= a <= SCALE[1]
        and SCALE[0] <= d <= SCALE[1]
        and abs(b) <= 0.1 * a
        and abs(c) <= 0.1 * d
        and 0.6 <= a / d <= 1.7
    )


def _best_correlation(a: UInt8, b: UInt8) -> float:
    """Return how well two pictures' values correlate, one of them brightened until they do so best."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    brightened = [(np.minimum(gain * x, 255), y) for gain in EXPOSURES]
    darkened = [(x, np.minimum(gain * y, 255)) for gain in EXPOSURES[1:]]
    return max(_correlation(one, other) for one, other in brightened + darkened)


def _correlation(x: Float32, y: Float32) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / max(np.sqrt((x * x).sum() * (y * y).sum()), 1e-6))


def _across(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], split: int, hashes: npt.NDArray[np.uint64]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a left picture of the first set and a right one of the second, gradients close."""
    theirs = right[right >= split]
    if not len(theirs):
        return
    for index in left[left < split].tolist():
        near = theirs[distance(hashes[theirs, 1], hashes[index, 1]) <= NEAR_GRADIENTS]
        yield from ((index, other) for other in (near - split).tolist())
