"""Builds the C++ pixels with CMake, and calls them by ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostclas.errors import ImageError, UsageError
from ghostclas.spec import PreprocessSpec

SOURCES = Path(__file__).parents[2] / "cpp"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
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
    interpolation = INTERPOLATIONS.index(resize.interpolation)
    return (ctypes.c_int * 5)(resize.short_side, interpolation, resize.antialias, spec.crop, spec.exif)


@cache
def build(folder: Path) -> Path:
    """Return the built library in ``folder``; skip where the machine lacks what building takes."""
    missing = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the C++ engine is not built here: {' and '.join(missing)} not found")
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DGHOSTCLAS_WERROR=ON", "-DGHOSTCLAS_TESTS=ON"]
    configured = _run("cmake", "-S", str(SOURCES), "-B", str(folder), *options)
    if configured.returncode and "Could NOT find" in configured.stderr:
        pytest.skip(f"the C++ engine is not built here: {configured.stderr.strip()[:300]}")
    assert configured.returncode == 0, configured.stderr
    built = _run("cmake", "--build", str(folder), "--target", "ghostclas_pixels_c", "--parallel", "2")
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("libghostclas_pixels_c.*"))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
