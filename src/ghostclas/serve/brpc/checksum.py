"""CRC-32C, as bRPC puts it into a meta: masked, and big-endian.

The polynomial is Castagnoli's (RFC 3720, appendix B.4), which Python's libraries lack. A loop in Python over
a large message takes seconds. So the bytes lie in columns, and numpy takes two bytes of every column at a
time. In the end the columns are joined: the checksum of two parts is that of the first, moved over the
second's length, xor that of the second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 4
"""Bytes of a checksum in a meta."""

_POLYNOMIAL = np.uint32(0x82F63B78)
_MASK = 0xA282EAD8
_FEW = 1024
"""Bytes below which columns cost more than they save."""

UInt32 = NDArray[np.uint32]


def _table(bits: int) -> UInt32:
    """Return what ``bits`` bits of input do to the checksum."""
    table = np.arange(1 << bits, dtype=np.uint32)
    for _ in range(bits):
        table = np.where(table & 1, (table >> 1) ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    return table


_BYTE = _table(8).tolist()
_PAIR = _table(16)
_BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of ``data``."""
    value, done = 0xFFFFFFFF, 0
    if len(data) >= _FEW:
        columns = int(len(data) ** 0.5)
        height = len(data) // columns // 2
        done = 2 * columns * height
        words = np.frombuffer(data, dtype="<u2", count=columns * height).reshape(columns, height)
        value = _joined(value, words)
    for byte in data[done:]:
        value = _BYTE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _joined(value: int, words: NDArray[np.uint16]) -> int:
    """Return the checksum after ``words``, ``[columns, height]``; before them it was ``value``."""
    columns, height = words.shape
    # Beside the columns the 32 powers of two run over zeros: what moving over a column does to each bit.
    rows = np.zeros((height, columns + 32), dtype=np.uint32)
    rows[:, :columns] = words.T
    state = np.concatenate([np.zeros(columns, dtype=np.uint32), _BITS])
    state[0] = value
    for row in rows:
        row ^= state
        row &= 0xFFFF
        state >>= 16
        state ^= _PAIR[row]
    moved = state[columns:].tolist()
    joined, *rest = state[:columns].tolist()
    for column in rest:
        for bit in range(32):
            if joined >> bit & 1:
                column ^= moved[bit]
        joined = column
    return int(joined)


def checksum(data: bytes) -> bytes:
    """Return the four bytes that a meta carries for ``data``."""
    crc = crc32c(data)
    masked = ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
    return masked.to_bytes(SIZE, "big")
