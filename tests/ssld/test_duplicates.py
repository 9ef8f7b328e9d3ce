"""The pairs of images that are compared in detail."""

from __future__ import annotations

import numpy as np

from ghostclas.ssld.duplicates import Fingerprints, roughly_close, same_bytes


def prints(count: int, seed: int = 0) -> Fingerprints:
    draw = np.random.default_rng(seed)
    return Fingerprints(
        draw.integers(0, 256, (count, 32), dtype=np.uint8),
        draw.integers(0, 2**63, (count, 2), dtype=np.uint64),
        np.full(count, 50, np.float32),
    )


def test_hashes_a_few_bits_apart_make_a_pair_and_blank_images_none() -> None:
    pool, val = prints(300), prints(50)
    val.hashes[:] = pool.hashes[:50]
    pool.detail[7] = 1
    val.hashes[:, 1] ^= np.uint64(0b111)
    val.hashes[3, 1] ^= np.uint64((1 << 40) - 1)
    assert sorted(roughly_close(pool, val)) == [(i, i) for i in range(50) if i not in (3, 7)]


def test_same_bytes_are_paired_once() -> None:
    keys = prints(4).keys
    assert same_bytes(keys[[0, 1, 1]], keys[[1, 2, 1]]).tolist() == [[1, 0], [2, 0]]
    assert same_bytes(keys[:2], keys[2:]).shape == (0, 2)
