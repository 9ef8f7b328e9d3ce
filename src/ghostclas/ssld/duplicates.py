"""Duplicates in a pool: images that show the same photograph as a reference set, or as each other.

Three cheap signs give candidates: the same bytes, close perceptual hashes, and similar features
(``ssld.features``), which also find cropped copies. Each candidate is then confirmed by a comparison of both
images: of their colours as a whole, as in ``ghostclas.datasets.audit``, or of their SIFT features, which must
agree on one affine transform (found by RANSAC) under which the grey values correlate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ghostclas.datasets.audit import BLANK_DETAIL, NEAR_CORRELATION, NEAR_FREQUENCIES, NEAR_GRADIENTS
from ghostclas.datasets.phash import close_pairs, colour_correlation, distance
from ghostclas.extras import require
from ghostclas.ssld.features import NO_FEATURES, FeatureExtractor, Features, FeatureStore, Gallery, matches
from ghostclas.ssld.scoring import Fingerprint

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]
MatchKind = Literal["same bytes", "same picture", "same scene by SIFT"]

ROUGH_FREQUENCIES = 20
ROUGH_GRADIENTS = 12
ROUGH_CORRELATION = 0.93
"""Images whose hashes are this close are duplicates if their colours at 16 x 16 correlate this well. The
limits are looser than the audit's, because SIFT sees the other candidates.
"""

MIN_INLIERS = 8
RANSAC_PIXELS = 3.0
SCALE = (0.35, 2.9)
MIN_OVERLAP = 0.3
"""The smallest part of the smaller image that must lie in the other one."""
MIN_CORRELATION = 0.9
EXPOSURES = (1.0, 1.2, 1.4, 1.6)
"""Factors by which one may be brighter. Clipped highlights would otherwise spoil the correlation."""

SEARCH_BATCH = 128
"""Images of a pool that are compared in one batch."""

_PAIRS = 1 << 21


@dataclass(frozen=True)
class Fingerprints:
    """Keys and hashes of a set of images, which replace reading them again.

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
        """Join the fingerprints of single images."""
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
    """Yield pairs with close perceptual hashes, as in ``datasets.audit``; blank images have no pairs."""
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
    """Yield pairs whose perceptual hashes are roughly close, from a comparison of every pair."""
    seen = one.detail >= BLANK_DETAIL
    block = max(1, _PAIRS // max(1, len(one.keys)))
    for start in range(0, len(other.keys), block):
        theirs = other.hashes[start : start + block, None]
        near = seen & (distance(one.hashes[None, :, 1], theirs[..., 1]) <= ROUGH_GRADIENTS)
        for row, index in np.argwhere(near).tolist():
            if distance(one.hashes[index, 0], other.hashes[start + row, 0]) <= ROUGH_FREQUENCIES:
                yield index, start + row


class ReferenceSet:
    """The reference images of a search: an ``Inspection`` of their source.

    Attributes:
        images: the indices of the images in the source.
        by_key: the same indices by content key; of equal files the first.
        features: the features of each image, in the store that was given.
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
        """Return an image's features."""
        return self._extract(data)

    def collect(self, image: int, key: bytes, fingerprint: Fingerprint, features: Features | None) -> None:
        """Add an image."""
        self.images.append(image)
        self.by_key.setdefault(key, image)
        self._keys.append(key)
        self._fingerprints.append(fingerprint)
        self.features.append(features or NO_FEATURES)

    def finish(self) -> None:
        """Do nothing: no image waits."""

    def fingerprints(self) -> Fingerprints:
        """Return the fingerprints of all images."""
        return Fingerprints.of(self._keys, self._fingerprints)


class DuplicateSearch:
    """The search for duplicates of reference images in a source: an ``Inspection`` of that source.

    Attributes:
        found: for an image's index, the index of the reference image and the kind of match.
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
        self.found: dict[int, tuple[int, MatchKind]] = {}

    def inspect(self, key: bytes, data: bytes, fingerprint: Fingerprint) -> Features | None:
        """Return an image's features if the search needs them."""
        if key in self._reference.by_key:
            return None
        if not self._neighbours and not any(
            roughly_close(Fingerprints.of([key], [fingerprint]), self._theirs)
        ):
            return None
        return self._extract(data)

    def collect(self, image: int, key: bytes, fingerprint: Fingerprint, features: Features | None) -> None:
        """Queue an image; a full batch is searched."""
        same = self._reference.by_key.get(key)
        if same is not None:
            self.found[image] = (same, "same bytes")
        elif features is not None:
            self._waiting.append((image, key, fingerprint, features))
            if len(self._waiting) == SEARCH_BATCH:
                self.finish()

    def finish(self) -> None:
        """Search for the queued images."""
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

        def first(row: int) -> tuple[int, MatchKind] | None:
            for other in dict.fromkeys(candidates[row]):
                theirs = self._reference.features[other]
                near = distance(ours.hashes[row], self._theirs.hashes[other])
                if why := same_photograph(features[row], theirs, near):
                    return self._reference.images[other], why
            return None

        for image, match in zip(images, self._executor.map(first, range(len(images))), strict=True):
            if match is not None:
                self.found[image] = match


def same_image(one: Float32, other: Float32, near: UInt8) -> bool:
    """Whether two whole images are the same photograph.

    Args:
        one: the signature of one image; see ``datasets.phash.signature``.
        other: the signature of the other.
        near: the distances between their two perceptual hashes.
    """
    by_hash = near[0] <= NEAR_FREQUENCIES and near[1] <= NEAR_GRADIENTS
    return bool(by_hash and colour_correlation(one, other) >= NEAR_CORRELATION)


def same_photograph(one: Features, other: Features, near: UInt8) -> MatchKind | None:
    """Return how two images, each perhaps a crop, match as the same photograph, or ``None``."""
    if same_image(one.signature, other.signature, near):
        return "same picture"
    alike = colour_correlation(_coarse(one.signature), _coarse(other.signature)) >= ROUGH_CORRELATION
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
    if transform is None or int(inliers.sum()) < MIN_INLIERS or not _only_scales(transform):
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
    """Return a signature ``[32, 32, 3]`` at half its size, which hides how a copy was resampled."""
    return np.asarray(signature_of.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3)), np.float32)


def _only_scales(transform: npt.NDArray[np.float64]) -> bool:
    """Whether a transform scales with nearly the same factor both ways, without rotation or shear."""
    a, b, c, d = map(float, transform[:, :2].ravel())
    return (
        SCALE[0] <= a <= SCALE[1]
        and SCALE[0] <= d <= SCALE[1]
        and abs(b) <= 0.1 * a
        and abs(c) <= 0.1 * d
        and 0.6 <= a / d <= 1.7
    )


def _best_correlation(a: UInt8, b: UInt8) -> float:
    """Return the highest correlation of two images over the exposures of either."""
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
    """Yield pairs with close gradient hashes: a left image of the first set, a right one of the second."""
    theirs = right[right >= split]
    if not len(theirs):
        return
    for index in left[left < split].tolist():
        near = theirs[distance(hashes[theirs, 1], hashes[index, 1]) <= NEAR_GRADIENTS]
        yield from ((index, other) for other in (near - split).tolist())
