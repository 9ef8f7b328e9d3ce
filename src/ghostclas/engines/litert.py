"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, one image at a time; the extra ``litert`` installs it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import Float32Logits, Port, UInt8NHWC, check_signature, loading_failed
from ghostclas.engines.file_engine import SerialEngine, one_by_one
from ghostclas.extras import require
from ghostclas.processor import usable_cores

_ANNOUNCEMENT = b"INFO: Created TensorFlow Lite XNNPACK delegate"
_REDIRECTION = threading.Lock()


class LiteRTEngine(SerialEngine):
    """A ``.tflite`` file in LiteRT. See ``ghostclas.engines.contract.Engine``."""

    name = "litert"
    runtime = "LiteRT"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        litert = require("ai_edge_litert.interpreter", extra="litert")
        content = file.read()
        try:
            with _without_announcement():
                interpreter: Any = litert.Interpreter(
                    model_content=content, num_threads=threads or usable_cores()
                )
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise loading_failed(file, self.runtime, error) from None
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        check_signature(file, self.runtime, [*map(_port, inputs)], [*map(_port, outputs)])
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        super().__init__(file, interpreter)

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        def logits(image: UInt8NHWC) -> Float32Logits:
            loaded.set_tensor(self._input, image)
            loaded.invoke()
            return np.array(loaded.get_tensor(self._output), np.float32)

        return one_by_one(logits, batch)


@contextmanager
def _without_announcement() -> Iterator[None]:
    """Leave out the line about XNNPACK that TensorFlow Lite writes to stderr; no option of it does.

    What else comes meanwhile, of other threads too, is written afterwards.
    """
    with _REDIRECTION, tempfile.TemporaryFile() as written:
        try:
            kept = os.dup(2)
        except OSError:  # a process without stderr
            yield
            return
        try:
            os.dup2(written.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            for line in written:
                if not line.startswith(_ANNOUNCEMENT):
                    os.write(2, line)


def _port(details: Any) -> Port:
    return Port(details["name"], np.dtype(details["dtype"]).name, [*map(int, details["shape"])])
