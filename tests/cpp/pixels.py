"""The C++ pixels and scores, called by ctypes."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostclas.errors import ImageError, UsageError
from ghostclas.spec import PreprocessSpec
from tests.cpp.building import built

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
LIBRARIES = (None, "opencv", "pillow")
_SUFFIXES = (".so", ".dylib", ".dll")
_ROOM = 4096


class Pixels:
    """The library of ``cpp/tests/pixels_c.cpp``, with the functions of ``imaging``."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._text = ctypes.create_string_buffer(_ROOM)

    def preprocess(self, data: bytes, spec: PreprocessSpec, name: str = "the image") -> NDArray[np.uint8]:
        out = np.zeros((spec.crop, spec.crop, 3), np.uint8)
        fields, target = _fields(spec), ctypes.c_void_p(out.ctypes.data)
        size, room = ctypes.c_size_t(len(data)), ctypes.c_size_t(_ROOM)
        self._check(
            self._library.ghostclas_test_preprocess(
                name.encode(), data, size, fields, target, self._text, room
            )
        )
        return out

    def fit(self, rgb: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
        out = np.zeros((spec.crop, spec.crop, 3), np.uint8)
        rgb = np.ascontiguousarray(rgb)
        source, target = ctypes.c_void_p(rgb.ctypes.data), ctypes.c_void_p(out.ctypes.data)
        width, height, room = rgb.shape[1], rgb.shape[0], ctypes.c_size_t(_ROOM)
        self._check(
            self._library.ghostclas_test_rgb(source, width, height, _fields(spec), target, self._text, room)
        )
        return out

    def scores(
        self, logits: NDArray[np.float32], temperature: float, k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        images, classes = logits.shape
        scores = np.zeros_like(logits)
        top = np.zeros((images, min(max(k, 1), classes)), np.int64)
        self._check(
            self._library.ghostclas_test_scores(
                ctypes.c_void_p(logits.ctypes.data),
                ctypes.c_size_t(images),
                ctypes.c_size_t(classes),
                ctypes.c_double(temperature),
                ctypes.c_int64(k),
                ctypes.c_void_p(scores.ctypes.data),
                ctypes.c_void_p(top.ctypes.data),
                self._text,
                ctypes.c_size_t(_ROOM),
            )
        )
        return scores, top

    def _check(self, failed: int) -> None:
        if failed:
            code, _, message = self._text.value.decode(errors="replace").partition("\n")
            raise UsageError(message) if code == "usage" else ImageError(code, message)


def _fields(spec: PreprocessSpec) -> ctypes.Array[ctypes.c_int]:
    resize = spec.resize
    interpolation, library = INTERPOLATIONS.index(resize.interpolation), LIBRARIES.index(resize.library)
    fields = (resize.short_side, interpolation, resize.antialias, spec.crop, spec.exif, library)
    return (ctypes.c_int * 8)(*fields, *(resize.size or (0, 0)))


@cache
def open_pixels() -> Pixels:
    """Return the library, built if it has to be; skip where building is not possible."""
    folder = built("ghostclas_pixels_c")
    return Pixels(next(file for file in folder.rglob("*ghostclas_pixels_c.*") if file.suffix in _SUFFIXES))
