"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, one image at a time; the extra ``litert`` installs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import Float32Logits, Port, UInt8NHWC, check_signature, loading_failed
from ghostclas.engines.file_engine import SerialEngine, one_by_one
from ghostclas.extras import require
from ghostclas.processor import usable_cores


class LiteRTEngine(SerialEngine):
    """A ``.tflite`` file in LiteRT. See ``ghostclas.engines.contract.Engine``."""

    name = "litert"
    runtime = "LiteRT"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        litert = require("ai_edge_litert.interpreter", extra="litert")
        try:
            interpreter: Any = litert.Interpreter(
                model_content=file.read(), num_threads=threads or usable_cores()
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


def _port(details: Any) -> Port:
    return Port(details["name"], np.dtype(details["dtype"]).name, [*map(int, details["shape"])])
