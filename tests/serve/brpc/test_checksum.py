"""CRC-32C against the published values, and against the definition bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.serve.brpc.checksum import checksum, crc32c


def by_definition(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"123456789", 0xE3069283),
        # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_published_values(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@given(st.integers(0, 5000), st.integers(0, 2**32 - 1))
def test_columns_join_to_the_whole(size: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(size)
    assert crc32c(data) == by_definition(data)


def test_a_meta_carries_it_masked_and_big_endian() -> None:
    # LevelDB's mask: rotated right by 15 bits, and a constant added.
    assert checksum(b"123456789") == ((0x25_07_C6_0D + 0xA282EAD8) % 2**32).to_bytes(4, "big")
