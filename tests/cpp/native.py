"""The C API of libghostclas, called by ctypes beside Python's own code in one process."""

from __future__ import annotations

import ctypes
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError
from ghostclas.spec import Prediction
from ghostclas.terminal import printable_json
from tests.cpp.building import built

_Handle = ctypes.c_void_p


class _Options(ctypes.Structure):
    _fields_ = (
        ("engine", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("runtime", ctypes.c_char_p),
        ("threads", ctypes.c_int),
        ("batch_size", ctypes.c_size_t),
    )


class _Image(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
    )


class NativeError(Exception):
    """What a function of the C API refused: its status, the stable code, and the sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def runtime_folder(package: str = "onnxruntime") -> Path:
    """Return where the library of an installed runtime is."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    return folder / {"onnxruntime": "capi", "openvino": "libs"}[package]


@cache
def library() -> ctypes.CDLL:
    """Build libghostclas and load it."""
    loaded = ctypes.CDLL(str(built("ghostclas") / "lib" / "libghostclas.so"))
    for name in ("version", "class_name", "answer_json", "answer_label", "error_message", "error_code"):
        getattr(loaded, f"ghostclas_{name}").restype = ctypes.c_char_p
    loaded.ghostclas_class_count.restype = ctypes.c_size_t
    return loaded


def call(name: str, *arguments: Any) -> None:
    """Call a function of the C API that can fail.

    Raises:
        NativeError: it did.
    """
    error = _Handle()
    status = getattr(library(), f"ghostclas_{name}")(*arguments, ctypes.byref(error))
    if status:
        code = library().ghostclas_error_code(error).decode()
        message = library().ghostclas_error_message(error).decode()
        library().ghostclas_free_error(error)
        raise NativeError(status, code, message)


def refusal(path: str | os.PathLike[str]) -> str | None:
    """Return why libghostclas refuses the bundle at ``path``; ``None`` if it does not."""
    try:
        call("verify", os.fsencode(path))
    except NativeError as error:
        return str(error)
    return None


def refusal_in_python(path: str | os.PathLike[str]) -> str | None:
    """Return why Python refuses the bundle at ``path``; ``None`` if it does not."""
    try:
        Bundle.open(path).check()
    except BundleError as error:
        return str(error)
    return None


class NativeClassifier:
    """A classifier of libghostclas."""

    def __init__(self, bundle: str | os.PathLike[str], **options: Any) -> None:
        options = {"runtime": str(runtime_folder())} | options
        given = _Options(
            **{key: value.encode() if isinstance(value, str) else value for key, value in options.items()}
        )
        self._handle = _Handle()
        call("open", os.fsencode(bundle), ctypes.byref(given), ctypes.byref(self._handle))
        self.crop = library().ghostclas_crop(self._handle)
        count = library().ghostclas_class_count(self._handle)
        self.classes = [
            library().ghostclas_class_name(self._handle, ctypes.c_size_t(i)).decode() for i in range(count)
        ]

    def close(self) -> None:
        """Free it."""
        library().ghostclas_close(self._handle)

    def lines(self, files: Sequence[str | os.PathLike[str]], top: int = 5) -> list[str]:
        """Return the JSON of each file's answer."""
        names = (ctypes.c_char_p * len(files))(*map(os.fsencode, files))
        with self._answers("predict_files", names, len(files), top) as answers:
            return list(self._lines(answers, len(files)))

    def image_lines(self, images: Sequence[bytes | NDArray[np.uint8]], top: int = 5) -> list[str]:
        """Return the JSON of each image's answer; an array is RGB ``[H, W, 3]``."""
        given = (_Image * len(images))(*map(_image, images))
        with self._answers("predict_images", given, len(images), top) as answers:
            return list(self._lines(answers, len(images)))

    def preprocess(self, image: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the network's input, uint8 ``[crop, crop, 3]``."""
        pixels = np.empty((self.crop, self.crop, 3), np.uint8)
        given = _image(image)
        call("preprocess", self._handle, ctypes.byref(given), pixels.ctypes.data_as(_Handle))
        return pixels

    def preprocess_raw(self, data: bytes | None, width: int, height: int) -> None:
        """Give pixels by their address, as C does."""
        given = _Image(ctypes.cast(ctypes.c_char_p(data), _Handle), 0, width, height)
        pixels = np.empty((self.crop, self.crop, 3), np.uint8)
        call("preprocess", self._handle, ctypes.byref(given), pixels.ctypes.data_as(_Handle))

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits of a batch, float32 ``[N, classes]``."""
        pixels = np.ascontiguousarray(pixels)
        rows = np.empty((len(pixels), len(self.classes)), np.float32)
        call(
            "logits",
            self._handle,
            pixels.ctypes.data_as(_Handle),
            ctypes.c_size_t(len(pixels)),
            rows.ctypes.data_as(_Handle),
        )
        return rows

    @contextmanager
    def _answers(self, name: str, items: Any, count: int, top: int) -> Iterator[_Handle]:
        answers = _Handle()
        call(name, self._handle, items, ctypes.c_size_t(count), ctypes.c_size_t(top), ctypes.byref(answers))
        try:
            yield answers
        finally:
            library().ghostclas_free_answers(answers)

    @staticmethod
    def _lines(answers: _Handle, count: int) -> Iterator[str]:
        for index in range(count):
            yield library().ghostclas_answer_json(answers, ctypes.c_size_t(index)).decode()


def _image(image: bytes | NDArray[np.uint8]) -> _Image:
    if isinstance(image, bytes):
        return _Image(ctypes.cast(ctypes.c_char_p(image), _Handle), len(image), 0, 0)
    height, width, _ = image.shape
    return _Image(image.ctypes.data_as(_Handle), 0, width, height)


def assert_same_line(native: str, python: str) -> None:
    """Compare two lines of predictions: the same but for the digits of scores, which agree to 1e-6.

    What Python reads in the line of C++, it writes with the same characters.
    """
    assert printable_json(Prediction.model_validate_json(native).model_dump_json()) == native
    one, other = json.loads(native), json.loads(python)
    for mine, right in zip(one["top"], other["top"], strict=True):
        assert abs(mine["score"] - right["score"]) <= 1e-6, (native, python)
        mine["score"] = right["score"]
    # As text: the order of the keys and the form of every escape are the same, too.
    assert _without_scores(native) == _without_scores(python)
    assert one == other


def _without_scores(line: str) -> str:
    return re.sub(r'"score":[-+.e0-9]+', '"score":', line)
