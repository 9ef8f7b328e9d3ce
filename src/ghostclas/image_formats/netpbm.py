"""PBM, PGM and PPM files as binary ones of 1, 8 or 16 bits, which Pillow decodes in C.

Pillow decodes text, and samples whose maximum is not 255 or 65535, in Python, and it reads a header byte by
byte. That takes up to a microsecond a byte. The pixels are those that Pillow would give.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP = rb"(?:\s|#[^\r\n]*+[\r\n])++"
_HEADER = re.compile(rb"P([1-6])" + (_GAP + rb"(\d{1,10})") * 2)
_MAXIMUM = re.compile(_GAP + rb"(\d{1,10})")
_FLOAT_HEADER = re.compile(rb"Pf" + (_GAP + rb"([^\s#]{1,10})") * 3 + rb"\s")
_COMMENT = re.compile(rb"#[^\r\n]*+[\r\n]?")
_NUMBERS = re.compile(rb"(?:\s++|\d{1,10}+(?!\d))*+")
_BITMAP_OF_TEXT, _BITMAP = 1, 4
_TEXTS = (1, 2, 3)
_COLOUR = (3, 6)
_SHORT = 1024
_BYTE, _WORD = 255, 65535


def to_binary(data: bytes) -> bytes:
    """Return a file of the same pixels with a short header.

    A bad header comes back alone, for Pillow to refuse.

    Raises:
        ValueError: its text holds what is no sample of this file.
    """
    if data.startswith(b"Pf"):
        floats = _FLOAT_HEADER.match(data)
        if floats is None:
            return data[:_SHORT]
        return data if floats.end() <= _SHORT else b"Pf %b %b %b " % floats.groups() + data[floats.end() :]
    header = _HEADER.match(data)
    if header is None:
        return data[:_SHORT]
    kind, width, height = map(int, header.groups())
    if kind in (_BITMAP_OF_TEXT, _BITMAP):
        maximum, at = 1, header.end()
    else:
        found = _MAXIMUM.match(data, header.end())
        if found is None or not 0 < int(found[1]) <= _WORD:
            return data[:_SHORT]
        maximum, at = int(found[1]), found.end()
    if not data[at : at + 1].isspace() or not width * height:
        return data[:at][:_SHORT]
    start = at + 1
    if kind == _BITMAP or (kind not in _TEXTS and maximum in _maxima_in_c(kind)):
        # The usual file is not copied.
        return data if start <= _SHORT else _head(kind, width, height, maximum) + data[start:]
    if kind == _BITMAP_OF_TEXT:
        return _head(_BITMAP, width, height, maximum) + _bits_of_text(data[start:], width, height)
    count = width * height * (3 if kind in _COLOUR else 1)
    samples = (
        _numbers(data[start:], count, maximum) if kind in _TEXTS else _words(data, start, count, maximum)
    )
    top = _BYTE if kind in _COLOUR or maximum <= _BYTE else _WORD
    binary = 6 if kind in _COLOUR else 5
    return _head(binary, width, height, top) + _scaled(samples, maximum, top).tobytes()


def _maxima_in_c(kind: int) -> tuple[int, ...]:
    return (_BYTE,) if kind in _COLOUR else (_BYTE, _WORD)


def _head(kind: int, width: int, height: int, maximum: int) -> bytes:
    return b"P%d %d %d " % (kind, width, height) + (b"" if kind == _BITMAP else b"%d " % maximum)


def _bits_of_text(text: bytes, width: int, height: int) -> bytes:
    digits = b"".join(_COMMENT.sub(b"", text).split())[: width * height]
    if digits.translate(None, b"01"):
        raise ValueError("a bit is neither 0 nor 1")
    rows = np.frombuffer(digits, np.uint8)[: len(digits) // width * width].reshape(-1, width)
    return np.packbits(rows == ord("1"), axis=1).tobytes()


def _numbers(text: bytes, count: int, maximum: int) -> NDArray[Any]:
    text = _COMMENT.sub(b"", text)
    found = _NUMBERS.match(text)
    numbers = text[: found.end()] if found else b""
    # Given a count, fromstring would fill up what is missing with whatever lies in memory.
    samples = np.fromstring(numbers, np.int64, sep=" ")[:count] if numbers.strip() else np.empty(0, np.int64)
    # What follows the last sample does not matter.
    if len(samples) < count and len(numbers) < len(text):
        raise ValueError("a sample is no number of at most 10 digits")
    if samples.size and samples.max() > maximum:
        raise ValueError(f"a sample is {samples.max()}, the maximum is {maximum}")
    return samples


def _words(data: bytes, start: int, count: int, maximum: int) -> NDArray[Any]:
    kind = np.dtype(np.uint8 if maximum <= _BYTE else ">u2")
    count = min(count, (len(data) - start) // kind.itemsize)
    return np.frombuffer(data, kind, count, start)


def _scaled(samples: NDArray[Any], maximum: int, top: int) -> NDArray[Any]:
    """Return ``round(sample / maximum * top)``, at most ``top``, as bytes or as words in the file's order."""
    every = np.arange(_WORD + 1 if maximum > _BYTE else _BYTE + 1)
    table = np.minimum(np.rint(every / maximum * top), top).astype(np.uint8 if top == _BYTE else ">u2")
    scaled: NDArray[Any] = table[samples]
    return scaled
