"""libghostclas where callers, bundles and systems are unusual: an answer or one line, never a crash."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from ghostclas.bundle import Bundle, default_bundle_path
from ghostclas.engines import installed_engines, open_engine
from ghostclas.prediction import Classifier
from ghostclas.terminal import printable_json
from tests.cpp.building import built
from tests.cpp.native import NativeClassifier, NativeError, assert_same_line, runtime_folder
from tests.engines.linear import SIDE, Kind, bundle_of, linear_model
from tests.images import encode, photo

_CLASSES = 5000
_ONNX_TYPES: dict[Kind, int] = {
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
}


def bundle_with_outputs(folder: Path, dtype: Kind) -> Bundle:
    """Return a bundle whose network gives the mean of a photo, times a weight of each class, as ``dtype``."""
    weights = np.random.default_rng(0).uniform(0, 0.1, (3, _CLASSES)).astype(np.float32)
    model = linear_model(weights=weights, logits=_ONNX_TYPES[dtype])
    classes = tuple(f"class {number}" for number in range(_CLASSES))
    return bundle_of(model.SerializeToString(), folder, classes=classes, dtype=dtype)


@pytest.mark.parametrize("dtype", _ONNX_TYPES)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_logits_of_every_type_are_read_as_that_type(engine: str, dtype: Kind, tmp_path: Path) -> None:
    if engine not in installed_engines():
        pytest.skip(f"{engine} is not installed")
    bundle = bundle_with_outputs(tmp_path / "linear", dtype)
    images = np.random.default_rng(1).integers(0, 256, (64, SIDE, SIDE, 3), np.uint8)
    native = NativeClassifier(bundle.path, engine=engine, runtime=str(runtime_folder(engine)))
    np.testing.assert_array_equal(native.logits(images), open_engine(engine, bundle).run(images))
    native.close()


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
def test_an_array_without_pixels_is_a_bad_photo(shape: tuple[int, ...]) -> None:
    native = NativeClassifier(default_bundle_path())
    array = np.empty(shape, np.uint8)
    (line,) = native.image_lines([array])
    (expected,) = Classifier.load(engine="onnxruntime").predict([array])
    assert_same_line(line, printable_json(expected.model_dump_json()))
    native.close()


@pytest.mark.parametrize(
    ("width", "height", "code"), [(5, -3, "empty"), (-5, 3, "empty"), (40_000, 40_000, "too_large")]
)
def test_sizes_that_no_array_has_are_a_bad_photo(width: int, height: int, code: str) -> None:
    native = NativeClassifier(default_bundle_path())
    with pytest.raises(NativeError) as refused:
        native.preprocess_raw(b"abc", width, height)
    assert refused.value.code == code
    with pytest.raises(NativeError) as refused:
        native.preprocess_raw(None, 5, 3)
    assert refused.value.code == "empty"
    native.close()


def photos(folder: Path, count: int) -> list[Path]:
    files = [folder / f"{number}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(encode(photo(300, 200, number), "JPEG"))
    return files


def infer(*arguments: str | Path) -> list[str]:
    """Return a command that labels with the built-in model, one photo in a batch, up to ``--threads``."""
    program = built("ghostclas-infer") / "bin" / "ghostclas-infer"
    options = ["--model", str(default_bundle_path()), "--runtime", str(runtime_folder())]
    return [str(program), *map(str, arguments), *options, "--json", "--batch-size", "1", "--threads"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are POSIX")
def test_more_threads_than_the_system_gives_are_no_crash(tmp_path: Path) -> None:
    command = infer(*photos(tmp_path, 24))
    few = subprocess.run([*command, "2"], capture_output=True, check=True)
    # The stacks of 1,024 threads, at 8 MB each, do not fit.
    many = subprocess.run(
        ["bash", "-c", 'ulimit -v 3000000 && exec "$@"', "bash", *command, "1024"],
        capture_output=True,
        check=False,
    )
    assert (many.returncode, many.stdout) == (0, few.stdout), many.stderr


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux tells how long a thread ran")
def test_batches_of_one_photo_use_all_threads(tmp_path: Path) -> None:
    command = [*infer(*photos(tmp_path, 60) * 10), "2"]
    ran: dict[str, int] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                # A thread may have ended.
                with suppress(OSError):
                    ran[thread.name] = int((thread / "schedstat").read_text().split()[0])
            time.sleep(0.01)
    assert process.returncode == 0
    # The others open the model and wait.
    most = max(ran.values())
    assert sum(nanoseconds > most / 4 for nanoseconds in ran.values()) == 2, ran
