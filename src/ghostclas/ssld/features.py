"""SIFT features of images, and the search for the images of a set with the most similar ones.

Features are SIFT's (Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", 2004). A VLAD vector
sums the differences between an image's descriptors and the nearest of 64 visual words (Jegou et al.,
"Aggregating Local Descriptors into a Compact Image Representation", CVPR 2010). Descriptors are square-rooted
before (Arandjelovic and Zisserman, "Three Things Everyone Should Know to Improve Object Retrieval", CVPR
2012), and each word's sum is normalised to length 1 (the same, "All About VLAD", CVPR 2013).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from ghostclas import imaging
from ghostclas.datasets.phash import signature
from ghostclas.errors import DataError
from ghostclas.extras import require

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SIFT_SIDE = 192
"""The long side to which images are resized; small ones have too few features at their own size."""
MAX_FEATURES = 400
MIN_CONTRAST = 0.02
"""Half of the value in section 4 of the paper, which gives smooth images too few features."""
RATIO = 0.8
"""Lowe's ratio of the distances to the nearest and the second nearest descriptor, section 7.1."""
WORDS = 64
VOCABULARY_IMAGES = 512
"""The visual words are the k-means of at most ``VOCABULARY_FEATURES`` features of so many images."""
VOCABULARY_FEATURES = 20_000


class Features(NamedTuple):
    """The features by which two images are compared.

    Attributes:
        signature: see ``datasets.phash.signature``.
        grey: uint8 ``[H, W]``, the longer side ``SIFT_SIDE``.
        points: the positions of the descriptors in ``grey``, float32 ``[N, 2]``: x and y.
        descriptors: SIFT's, uint8 ``[N, 128]``.
    """

    signature: Float32
    grey: UInt8
    points: Float32
    descriptors: UInt8


NO_FEATURES = Features(
    np.zeros((32, 32, 3), np.float32),
    np.zeros((16, 16), np.uint8),
    np.zeros((0, 2), np.float32),
    np.zeros((0, 128), np.uint8),
)
"""The features of an image that cannot be read."""


class FeatureExtractor:
    """Computes features, also from several threads. Needs OpenCV, which ``ghostclas[ssld]`` brings."""

    def __init__(self) -> None:
        self._cv2: Any = require("cv2", extra="ssld")
        self._own = threading.local()

    def __call__(self, data: bytes) -> Features:
        """Return the features of the encoded image ``data``.

        Raises:
            ImageError: the bytes hold no image.
        """
        image = imaging.decode(data, short_side=SIFT_SIDE)
        scale = SIFT_SIDE / max(image.size)
        size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
        grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BICUBIC))
        if not hasattr(self._own, "sift"):  # threads cannot share OpenCV's object
            self._own.sift = self._cv2.SIFT_create(nfeatures=MAX_FEATURES, contrastThreshold=MIN_CONTRAST)
        keypoints, found = self._own.sift.detectAndCompute(grey, None)
        points = np.array([point.pt for point in keypoints], np.float32).reshape(-1, 2)
        # OpenCV's descriptors are floats with whole values up to 255.
        descriptors = np.zeros((0, 128), np.uint8) if found is None else found.astype(np.uint8)
        return Features(signature(image), grey, points, descriptors)


class FeatureStore(Sequence[Features]):
    """The features of many images in a temporary file, about 100 kB an image.

    Several threads may read it. It is a context manager, which removes the file at the end.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._starts: list[int] = []
        self._lock = threading.Lock()
        self._kept = lru_cache(maxsize=1024)(self._load)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def append(self, features: Features) -> None:
        """Add the features of the next image.

        Raises:
            DataError: the disk is full.
        """
        try:
            with self._lock:
                self._starts.append(self._file.seek(0, os.SEEK_END))
                for values in features:
                    np.save(self._file, values, allow_pickle=False)
        except OSError as error:
            raise DataError(
                f"cannot keep the features of images in {tempfile.gettempdir()}: {error.strerror}\n"
                "       make room, or name another folder with the environment variable TMPDIR"
            ) from None

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Features: ...
    @overload
    def __getitem__(self, index: slice) -> list[Features]: ...
    def __getitem__(self, index: int | slice) -> Features | list[Features]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._kept(range(len(self))[index])

    def _load(self, index: int) -> Features:
        with self._lock:
            self._file.seek(self._starts[index])
            return Features(*(np.load(self._file, allow_pickle=False) for _ in Features._fields))


def matches(a: UInt8, b: UInt8) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the nearest row of ``b`` for each row of ``a``, and whether it passes Lowe's ratio test.

    Descriptors are uint8 ``[N, 128]`` and ``[M, 128]``, M at least 2. Sums of their squares and products stay
    below 2^24, so float32 is exact. One matrix product takes a fraction of the time of OpenCV's matcher and
    finds the same.
    """
    ours, theirs = a.astype(np.float32), b.astype(np.float32)
    squared = (ours * ours).sum(1)[:, None] + (theirs * theirs).sum(1) - 2 * (ours @ theirs.T)
    rows, nearest = np.arange(len(a)), squared.argmin(axis=1)
    first = squared[rows, nearest]
    squared[rows, nearest] = np.inf
    return nearest, first < RATIO**2 * squared.min(axis=1)


class Gallery:
    """The VLAD vectors of a set of images, for nearest-neighbour search."""

    def __init__(self, features: Sequence[Features]) -> None:
        count = len(features)
        chosen = np.linspace(0, count - 1, min(count, VOCABULARY_IMAGES)).astype(int).tolist()
        sample = [features[index].descriptors for index in chosen]
        self._words = _words(np.concatenate([np.zeros((0, 128), np.uint8), *sample]))
        self._vectors = np.zeros((count, 128 * len(self._words)), np.float32)
        for index in range(count):
            self._vectors[index] = _vlad(features[index].descriptors, self._words)

    def nearest(self, features: Sequence[Features], count: int) -> list[list[int]]:
        """Return the ``count`` most similar images of each query, unordered; none without features."""
        count = min(count, len(self._vectors))
        if not count:
            return [[] for _ in features]
        vectors = np.stack([_vlad(each.descriptors, self._words) for each in features])
        best = np.argpartition(-(vectors @ self._vectors.T), count - 1, axis=1)[:, :count].tolist()
        return [row if len(each.descriptors) else [] for each, row in zip(features, best, strict=True)]


def _words(descriptors: UInt8) -> Float32:
    """Return the k-means centres of a sample, float32 ``[K, 128]``; fewer for few descriptors."""
    count = min(WORDS, len(descriptors) // 8)
    if not count:
        return np.zeros((0, 128), np.float32)
    cv2 = require("cv2", extra="ssld")
    sample = np.random.default_rng(0).permutation(len(descriptors))[:VOCABULARY_FEATURES]
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 10, 1e-3)
    _, _, centres = cv2.kmeans(_root(descriptors[sample]), count, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres, np.float32)


def _vlad(descriptors: UInt8, words: Float32) -> Float32:
    """Return the VLAD vector of descriptors, float32 ``[K * 128]`` of length 1, or zeros."""
    if not len(words):
        return np.zeros(0, np.float32)
    values = _root(descriptors)
    word = ((words * words).sum(1) - 2 * (values @ words.T)).argmin(axis=1)
    sums = np.zeros_like(words)
    np.add.at(sums, word, values - words[word])
    return np.asarray(_unit(_unit(sums).reshape(1, -1))[0])


def _root(descriptors: UInt8) -> Float32:
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1)), np.float32)


def _unit(values: Float32) -> Float32:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6), np.float32)
