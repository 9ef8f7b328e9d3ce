"""What an engine in a worker promises beyond the contract, which ``tests/contract`` holds it to."""

from __future__ import annotations

import gc
import subprocess
from typing import cast

import numpy as np
import pytest

from ghostclas.bundle import Bundle, BundleFile
from ghostclas.engines import ENGINES
from ghostclas.engines.isolated import IsolatedEngine
from ghostclas.errors import BundleError


def opened(bundle: Bundle) -> IsolatedEngine:
    return IsolatedEngine("onnxruntime", ENGINES["onnxruntime"], bundle.file("onnx"), threads=1)


def worker_of(engine: IsolatedEngine) -> subprocess.Popen[bytes]:
    return cast("subprocess.Popen[bytes]", engine._loaded)


def test_a_worker_that_dies_is_an_error_and_stays_one(small_bundle: Bundle) -> None:
    engine = opened(small_bundle)
    pixels = small_bundle.reference().pixels
    np.testing.assert_allclose(engine.run(pixels), small_bundle.reference().logits, rtol=0, atol=1e-3)
    worker_of(engine).kill()
    for _ in range(2):
        with pytest.raises(BundleError, match=r"the worker of onnxruntime has ended .* open it again"):
            engine.run(pixels)
    engine.close()


def test_an_error_of_the_worker_is_raised_here_as_what_it_is(tiny_bundle: Bundle) -> None:
    path = tiny_bundle.path / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=r"model\.onnx is not the file that was exported"):
        opened(tiny_bundle)


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_worker_ends_with_its_engine(small_bundle: Bundle, forgotten: bool) -> None:
    engine = opened(small_bundle)
    worker = worker_of(engine)
    assert worker.poll() is None
    if not forgotten:
        engine.close()
    del engine
    gc.collect()
    assert worker.poll() == 0


def test_a_file_that_was_replaced_since_is_refused(tiny_bundle: Bundle) -> None:
    entry = tiny_bundle.file("onnx").entry.model_copy(update={"sha256": "0" * 64})
    file = BundleFile(tiny_bundle, entry)
    with pytest.raises(BundleError, match="was replaced since the bundle was opened"):
        IsolatedEngine("onnxruntime", ENGINES["onnxruntime"], file, threads=1)
