"""Ways to damage a file: bytes, JSON documents, and the checksums that would hide deeper damage."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 100_000, 10**6, 2**24)
_LARGE = (2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_INTEGERS = ("B", "<H", ">H", "<I", ">I", "<Q", ">Q")
_DIGITS = (b"0", b"-1", b"9", b"65536", b"1000000", b"999999999", b"2147483648", b"1" * 30, b"9" * 400)
_MAX_BYTES = 1 << 20

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 999_999_999, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e308),
    *("", " ", "a", "\0", "\n", "\x1b]0;x\a", "../x", "/etc/passwd", "\ud800", "ü" * 300, "9" * 5000),
    *([], {}, [None], [[]], [0] * 1000, {"a": {}}, [{}] * 1000),
)
_RAW = ("1e999", "-1e999", "NaN", "Infinity", "1" * 5000, "[" * 3000, '{"a":' * 3000, "0x1", "01", "'a'")


def scramble(data: bytes, rng: Random, words: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` with one to eight changes; ``words`` are what the format's readers look for."""
    changed = bytearray(data)
    for _ in range(1 if rng.random() < 0.4 else rng.randint(2, 8)):
        _change(changed, rng, words)
    return bytes(changed[:_MAX_BYTES])


def _change(data: bytearray, rng: Random, words: Sequence[bytes]) -> None:
    # Headers decide more than content, and lie at the beginning or, in archives, at the end.
    size = len(data)
    near = min(size, 256)
    at = rng.choice((rng.randrange(size + 1), rng.randrange(near + 1), size - rng.randrange(near + 1)))
    match rng.randrange(10):
        case 0 if at < size:
            data[at] ^= 1 << rng.randrange(8)
        case 1 if at < size:
            data[at] = rng.randrange(256)
        case 2 | 3:
            kind = rng.choice(_INTEGERS)
            number = rng.choice(_NUMBERS if rng.random() < 0.6 else _LARGE)
            written = struct.pack(kind, number % (1 << 8 * struct.calcsize(kind)))
            data[at : at + len(written)] = written
        case 4:
            del data[at : at + rng.choice((1, 2, 4, 16, 64, 512))]
        case 5:
            times = rng.choice((1, 2, 50) if rng.random() < 0.9 else (1000, 20_000))
            data[at:at] = (bytes(data[at : at + rng.choice((1, 4, 16, 64, 512))]) * times)[:_MAX_BYTES]
        case 6:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))
        case 7 if words:
            word = rng.choice(words)
            data[at : at + rng.choice((0, len(word)))] = word
        case 8:
            _change_digits(data, at, rng)
        case 9 if rng.random() < 0.3:
            del data[at:]
        case _:
            other = rng.randrange(size + 1)
            length = rng.choice((2, 8, 32, 128))
            data[at : at + length] = data[other : other + length]


def _change_digits(data: bytearray, at: int, rng: Random) -> None:
    """Put another decimal number in place of the first one after ``at``."""
    while at < len(data) and not 48 <= data[at] <= 57:
        at += 1
    end = at
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    data[at:end] = rng.choice(_DIGITS)


def scramble_json(data: bytes, rng: Random) -> bytes:
    """Return the document with some of its values replaced, repeated or gone, sometimes no longer JSON."""
    document = json.loads(data)
    places = list(_places(document))
    text: str | None = None
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder, key = rng.choice(places)
        # An earlier change may have taken the place away.
        if key not in (holder if isinstance(holder, dict) else range(len(holder))):
            continue
        match rng.randrange(6):
            case 0 | 1 | 2:
                holder[key] = rng.choice(_VALUES)
            case 3:
                del holder[key]
            case 4 if isinstance(holder, list):
                holder.extend([holder[key]] * rng.choice((1, 3, 1000)))
            case 4:
                holder[rng.choice(("", "x", "digest", "__class__"))] = holder[key]
            case _:
                holder[key] = "\ue000"
                text = rng.choice(_RAW)
    written = json.dumps(document, indent=1)
    if text is not None:
        written = written.replace('"\\ue000"', text)
    if rng.random() < 0.1:
        first = written.find(":")
        written = written[:1] + written[1:first] + ": 1," + written[1:]  # the same key twice
    return written.encode("utf-8", "surrogatepass")


def _places(document: Any) -> list[tuple[Any, Any]]:
    found = []
    keys = document if isinstance(document, dict) else range(len(document))
    for key in list(keys):
        found.append((document, key))
        if isinstance(document[key], dict | list):
            found += _places(document[key])
    return found


def repair_png(data: bytes) -> bytes:
    """Make the checksum of every chunk that is where it should be right."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        (size,) = struct.unpack_from(">I", fixed, at)
        end = at + 8 + size
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def repair_tar(data: bytes) -> bytes:
    """Make the checksum of every block that looks like a header right."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - 511, 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    return bytes(fixed)
