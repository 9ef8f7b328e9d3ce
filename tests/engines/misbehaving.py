"""An engine that behaves as ``TEST_BEHAVIOUR`` says, for the tests of trials."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import Float32Logits, UInt8NHWC
from ghostclas.engines.file_engine import SerialEngine


class Engine(SerialEngine):
    name = "sleeper"
    runtime = "Sleeper"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        super().__init__(file, object())
        behaviour = os.environ.get("TEST_BEHAVIOUR", "")
        if behaviour == "crash":
            ctypes.string_at(0)
        elif behaviour == "spin":
            while True:
                pass
        elif behaviour == "sleep":
            time.sleep(60)
        elif behaviour == "fill":
            np.ones(10 * 2**30, np.uint8)
        elif behaviour == "exit" or (behaviour == "exit-in-trial" and "pytest" not in os.sys.modules):  # type: ignore[attr-defined]
            os._exit(3)
        elif behaviour == "raise":
            raise RuntimeError("what nobody expected")

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        assert self._file.entry.output is not None
        return np.zeros((len(batch), self._file.entry.output.size("C") or 0), np.float32)
