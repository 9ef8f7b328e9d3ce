"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, one photo at a time; the extra ``litert`` installs it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.base import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_images,
    check_signature,
    closed,
    loading_failed,
    one_by_one,
    running,
    usable_cores,
)
from ghostclas.extras import require


class LiteRTEngine:
    """A ``.tflite`` file in LiteRT. See ``ghostclas.engines.base.Engine``.

    An interpreter holds the tensors of one photo, so threads take turns.
    """

    name = "litert"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        interpreter = require("ai_edge_litert.interpreter", extra="litert")
        self._file = file
        try:
            opened: Any = interpreter.Interpreter(
                model_content=file.read(), num_threads=threads or usable_cores()
            )
            opened.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise loading_failed(file, "LiteRT", error) from None
        inputs, outputs = opened.get_input_details(), opened.get_output_details()
        check_signature(file, "LiteRT", [*map(_port, inputs)], [*map(_port, outputs)])
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self._interpreter = opened
        self._turn = threading.Lock()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""

        def logits(photo: UInt8NHWC) -> Float32Logits:
            interpreter = self._interpreter
            interpreter.set_tensor(self._input, photo)
            interpreter.invoke()
            return np.array(interpreter.get_tensor(self._output), np.float32)

        with self._turn, running(self._file, "LiteRT"):
            if self._interpreter is None:
                raise closed(self.name)
            return one_by_one(logits, check_images(images, self._file.entry), self._file, self.name)

    def close(self) -> None:
        """Free the interpreter; a batch that is running ends first."""
        with self._turn:
            self._interpreter = None


def _port(details: Any) -> Port:
    return Port(details["name"], np.dtype(details["dtype"]).name, [*map(int, details["shape"])])
