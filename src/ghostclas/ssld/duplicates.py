"""Which pictures of a pool show the same photograph as pictures that are measured on, or as each other.

Candidates come cheaply, from three signs: the same bytes, perceptual hashes that are close, and a teacher's
answers that are alike, which finds what was cut off at the edges, too. Each candidate is then confirmed by
looking at both pictures: in colour as a whole, as ``ghostclas.data.audit`` does, or by SIFT features that
agree on one affine transform (Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", 2004; found
by RANSAC) under which the pictures' grey values correlate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ghostclas import imaging
from ghostclas.data.audit import BLANK_DETAIL, NEAR_FREQUENCIES, NEAR_GRADIENTS, NEAR_LIKENESS
from ghostclas.data.phash import close_pairs, distance, likeness, signature
from ghostclas.extras import require

Float32 = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]
Why = Literal["same bytes", "same picture", "same scene by SIFT"]

ROUGH_FREQUENCIES = 20
ROUGH_GRADIENTS = 12
ROUGH_LIKENESS = 0.93
"""Where SIFT may look, too, a picture is the same if its gradients are about the same and its colours at
16 x 16 correlate so.
"""

SIFT_SIDE = 192
"""Both pictures are brought to this long side: small ones have too few features at their own size."""
MAX_FEATURES = 400
RATIO = 0.8
"""Lowe's ratio of the nearest to the second nearest descriptor, section 7.1."""
MIN_INLIERS = 8
RANSAC_PIXELS = 3.0
SCALE = (0.35, 2.9)
MIN_OVERLAP = 0.3
"""The part of the smaller picture that lies in the other one."""
MIN_CORRELATION = 0.9

_BLOCK = 1024
_PAIRS = 1 << 21


class Found(NamedTuple):
    """A duplicate: picture ``one`` of the first set is picture ``other`` of the second."""

    one: int
    other: int
    why: Why


@dataclass(frozen=True)
class Prints:
    """What is known of a set of pictures without opening them.

    Attributes:
        keys: content keys, uint8 ``[N, 32]``.
        hashes: perceptual hashes, uint64 ``[N, 2]``: by frequencies and by gradients.
        detail: float32 ``[N]``; see ``data.phash.Hashes``.
        logits: the teacher's, float16 ``[N, outputs]``.
        read: returns the bytes of picture i.
    """

    keys: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint64]
    detail: Float32
    logits: npt.NDArray[np.float16]
    read: Callable[[int], bytes]


def same_bytes(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> Pairs:
    """Return the pairs of rows that are equal, int64 ``[M, 2]``, each row of ``one`` at most once."""
    first = {key.tobytes(): index for index, key in reversed(list(enumerate(other)))}
    pairs = [(i, first[key.tobytes()]) for i, key in enumerate(one) if key.tobytes() in first]
    return np.array(pairs, np.int64).reshape(-1, 2)


def close_hashes(one: Prints, other: Prints) -> Iterator[tuple[int, int]]:
    """Yield pairs whose perceptual hashes are close, as in ``ghostclas.data.audit``; blank ones have none."""
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


def roughly_close(one: Prints, other: Prints) -> Iterator[tuple[int, int]]:
    """Yield pairs whose perceptual hashes are not far apart; each picture is held against each."""
    seen = one.detail >= BLANK_DETAIL
    block = max(1, _PAIRS // max(1, len(one.keys)))
    for start in range(0, len(other.keys), block):
        theirs = other.hashes[start : start + block, None]
        near = seen & (distance(one.hashes[None, :, 1], theirs[..., 1]) <= ROUGH_GRADIENTS)
        for row, index in np.argwhere(near).tolist():
            if distance(one.hashes[index, 0], other.hashes[start + row, 0]) <= ROUGH_FREQUENCIES:
                yield index, start + row


def alike_answers(one: Prints, other: Prints, neighbours: int) -> Iterator[tuple[int, int]]:
    """Yield for each picture of ``other`` the ``neighbours`` of ``one`` whose logits correlate best with its.

    The mean answer of ``one`` is taken out first.
    """
    count = min(neighbours, len(one.keys))
    if count == 0 or len(other.keys) == 0:
        return
    centre = one.logits.mean(axis=0, dtype=np.float64).astype(np.float32)
    theirs = _unit(other.logits.astype(np.float32) - centre)
    likeness_of = np.full((len(theirs), count), -2.0, np.float32)
    nearest = np.zeros((len(theirs), count), np.int64)
    for start in range(0, len(one.keys), _BLOCK):
        ours = _unit(one.logits[start : start + _BLOCK].astype(np.float32) - centre)
        numbers = np.broadcast_to(np.arange(start, start + len(ours)), (len(theirs), len(ours)))
        values = np.concatenate([likeness_of, theirs @ ours.T], axis=1)
        best = np.argpartition(-values, count - 1, axis=1)[:, :count]
        likeness_of = np.take_along_axis(values, best, axis=1)
        nearest = np.take_along_axis(np.concatenate([nearest, numbers], axis=1), best, axis=1)
    for row, indices in enumerate(nearest.tolist()):
        yield from ((index, row) for index in indices)


class Confirmer:
    """Looks at two pictures and says whether, and why, they are the same photograph.

    Needs OpenCV, which the extra ``ssld`` installs. May be used from several threads. Looks at the second set
    are kept: to compare in the order of the first is quickest.
    """

    def __init__(self, one: Prints, other: Prints) -> None:
        self._cv2: Any = require("cv2", extra="ssld")
        self._tools = threading.local()
        self._one, self._other = one, other
        self._of_one = lru_cache(maxsize=64)(lambda index: self._look(one.read(index)))
        self._of_other = lru_cache(maxsize=8192)(lambda index: self._look(other.read(index)))

    def confirm(self, index: int, other: int, *, by_scene: bool = True) -> Why | None:
        """Return why picture ``index`` of the one set is picture ``other`` of the other, or ``None``.

        Without ``by_scene`` only whole pictures are compared.
        """
        a, b = self._of_one(index), self._of_other(other)
        near = distance(self._one.hashes[index], self._other.hashes[other])
        by_hash = near[0] <= NEAR_FREQUENCIES and near[1] <= NEAR_GRADIENTS
        if by_hash and likeness(a.signature, b.signature) >= NEAR_LIKENESS:
            return "same picture"
        if not by_scene:
            return None
        alike = likeness(_coarse(a.signature), _coarse(b.signature)) >= ROUGH_LIKENESS
        if alike and near[1] <= ROUGH_GRADIENTS:
            return "same picture"
        return "same scene by SIFT" if self._same_scene(a, b) else None

    def _look(self, data: bytes) -> _Looked:
        image = imaging.decode(data, short_side=SIFT_SIDE)
        scale = SIFT_SIDE / max(image.size)
        size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
        grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BICUBIC))
        points, descriptors = self._sift().detectAndCompute(grey, None)
        places = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
        # Their values are whole numbers up to 255.
        small = None if descriptors is None else descriptors.astype(np.uint8)
        return _Looked(signature(image), grey, places, small)

    def _sift(self) -> Any:
        """Return this thread's SIFT: OpenCV's is not made to be shared."""
        if not hasattr(self._tools, "sift"):
            self._tools.sift = self._cv2.SIFT_create(nfeatures=MAX_FEATURES)
        return self._tools.sift

    def _same_scene(self, a: _Looked, b: _Looked) -> bool:
        cv2 = self._cv2
        if min(len(a.places), len(b.places)) < MIN_INLIERS:
            return False
        nearest, distinct = _matches(a.descriptors, b.descriptors)
        if distinct.sum() < MIN_INLIERS:
            return False
        cv2.setRNGSeed(0)
        transform, inliers = cv2.estimateAffine2D(
            a.places[distinct],
            b.places[nearest[distinct]],
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
        return bool(_correlation(moved[covered], b.grey[covered]) >= MIN_CORRELATION)


class _Looked(NamedTuple):
    signature: Float32
    grey: npt.NDArray[np.uint8]
    places: Float32
    descriptors: Any


def _matches(
    a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the nearest row of ``b`` for each row of ``a``, and whether it is so by Lowe's ratio.

    Descriptors are uint8 ``[N, 128]`` and ``[M, 128]``, M at least 2. Squares and products of them add up to
    less than 2^24, so that float32 is exact, and one product of matrices takes a small part of the time of
    OpenCV's matcher, which finds the same.
    """
    ours, theirs = a.astype(np.float32), b.astype(np.float32)
    squared = (ours * ours).sum(1)[:, None] + (theirs * theirs).sum(1) - 2 * (ours @ theirs.T)
    rows, nearest = np.arange(len(a)), squared.argmin(axis=1)
    first = squared[rows, nearest]
    squared[rows, nearest] = np.inf
    return nearest, first < RATIO**2 * squared.min(axis=1)


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


def _correlation(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    x, y = (values.astype(np.float32) - values.mean() for values in (a, b))
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


def _unit(values: Float32) -> Float32:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6), np.float32)
