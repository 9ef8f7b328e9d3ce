"""Which pairs of pictures are looked at more closely."""

from __future__ import annotations

import numpy as np
import pytest

from ghostclas.ssld.duplicates import RATIO, Prints, _matches, alike_answers, roughly_close, same_bytes


def prints(count: int, seed: int = 0) -> Prints:
    draw = np.random.default_rng(seed)
    return Prints(
        draw.integers(0, 256, (count, 32), dtype=np.uint8),
        draw.integers(0, 2**63, (count, 2), dtype=np.uint64),
        np.full(count, 50, np.float32),
        draw.normal(size=(count, 8)).astype(np.float16),
        lambda index: b"",
    )


def test_hashes_a_few_bits_apart_make_a_pair_and_blank_pictures_none() -> None:
    pool, val = prints(300), prints(50)
    val.hashes[:] = pool.hashes[:50]
    pool.detail[7] = 1
    val.hashes[:, 1] ^= np.uint64(0b111)
    val.hashes[3, 1] ^= np.uint64((1 << 40) - 1)
    assert sorted(roughly_close(pool, val)) == [(i, i) for i in range(50) if i not in (3, 7)]


def test_the_answers_that_are_most_alike_are_found_over_all_blocks() -> None:
    pool, val = prints(3000), prints(5, seed=1)
    chosen = [2999, 0, 1500, 1023, 1024]
    val.logits[:] = pool.logits[chosen]
    found = list(alike_answers(pool, val, 3))
    assert len(found) == 15
    assert {(index, row) for row, index in enumerate(chosen)} <= set(found)
    assert list(alike_answers(pool, val, 0)) == []


def test_same_bytes_are_paired_once() -> None:
    keys = prints(4).keys
    assert same_bytes(keys[[0, 1, 1]], keys[[1, 2, 1]]).tolist() == [[1, 0], [2, 0]]
    assert same_bytes(keys[:2], keys[2:]).shape == (0, 2)


def test_features_are_matched_as_opencv_does() -> None:
    cv2 = pytest.importorskip("cv2", reason="needs ghostclas[ssld]")
    draw = np.random.default_rng(0)
    one = draw.integers(0, 256, (60, 128), dtype=np.uint8)
    other = np.concatenate([draw.integers(0, 256, (40, 128), dtype=np.uint8), one[:20] // 2, one[50:] ^ 1])
    nearest, distinct = _matches(one, other)
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(one, other, k=2)
    assert nearest.tolist() == [first.trainIdx for first, _ in pairs]
    assert distinct.tolist() == [first.distance < RATIO * second.distance for first, second in pairs]
    assert distinct[50:].all()
    assert not distinct[20:50].all()
