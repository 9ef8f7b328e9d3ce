"""Perceptual hashes: 64 bits that hardly change when an image is rescaled or recompressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE = 32
_KEPT = 8


class Hashes(NamedTuple):
    """Two independent 64-bit hashes of one image, and its detail.

    ``detail`` is the standard deviation of its 32 x 32 grey version, 0 to 127. Below about 4 the image is
    blank and its hashes are noise.
    """

    frequencies: int
    gradients: int
    detail: float


def _cosines() -> npt.NDArray[np.float64]:
    frequency = np.arange(_KEPT + 1)[:, None]
    position = np.arange(_SIDE)[None, :]
    return np.asarray(np.cos(np.pi / _SIDE * (position + 0.5) * frequency))


_DCT = _cosines()
_ONES = np.array([value.bit_count() for value in range(1 << 16)], dtype=np.uint8)


def perceptual_hashes(image: Image.Image) -> Hashes:
    """Return the hashes of an RGB image.

    ``frequencies`` compares the frequencies 1 to 8, both ways, of a cosine transform with their median
    (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1).
    ``gradients`` compares the brightness of neighbours in 8 rows of 9 areas.
    """
    grey = image.convert("L")
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64)
    low = (_DCT @ small @ _DCT.T)[1:, 1:]
    rows = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return Hashes(
        _pack(low > np.median(low)),
        _pack(rows[:, 1:] > rows[:, :-1]),
        float(small.std()),
    )


def distance(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return the number of differing bits between two arrays of 64-bit hashes, elementwise."""
    return np.asarray(_ONES[(a ^ b)[..., None].view(np.uint16)].sum(axis=-1, dtype=np.uint8))


def signature(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return the image at 32 x 32, float32 ``[32, 32, 3]``, for :func:`colour_correlation`."""
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)


def colour_correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Return the correlation of two signatures: 1 for the same image, also at another brightness or contrast.

    Hashes of two products in the same place are alike; colours distinguish the products.
    """
    x, y = a - a.mean(), b - b.mean()
    return float((x * y).sum() / max(np.sqrt((x * x).sum() * (y * y).sum()), 1e-6))


def close_pairs(hashes: npt.NDArray[np.uint64], within: int) -> Iterator[npt.NDArray[np.int64]]:
    """Find all pairs of hashes that differ in at most ``within`` bits.

    Cut into ``within + 1`` bands, two such hashes have at least one band in common, so only hashes that share
    a band are compared.

    Args:
        hashes: uint64 ``[N]``, all different.
        within: 0 to 15.

    Yields:
        Pairs of indices, the smaller first, int64 ``[M, 2]``; every pair exactly once.
    """
    edges = np.linspace(0, 64, within + 2).astype(int)
    bands = [
        (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    for number, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        changes = np.flatnonzero(np.diff(band[order])) + 1
        for group in np.split(order, changes):
            for position in range(len(group) - 1):
                one, others = group[position], group[position + 1 :]
                near = others[distance(hashes[others], hashes[one]) <= within]
                # A pair that shares several bands is yielded for the first one only.
                for earlier in bands[:number]:
                    near = near[earlier[near] != earlier[one]]
                if len(near):
                    yield np.stack([np.minimum(near, one), np.maximum(near, one)], axis=1)


def _pack(bits: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
