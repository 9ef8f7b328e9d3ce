"""MNN on the CPU; the extra ``mnn`` installs it."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import Float32Logits, Port, UInt8NHWC, check_signature, loading_failed
from ghostclas.engines.file_engine import SerialEngine
from ghostclas.extras import require
from ghostclas.processor import usable_cores

_REDIRECTION = threading.Lock()


class MnnEngine(SerialEngine):
    """An ``.mnn`` file in MNN. See ``ghostclas.engines.contract.Engine``.

    The engine computes in float32, MNN's ``precision: high``.
    """

    name = "mnn"
    runtime = "MNN"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        with _prints_to_stderr():
            networks = require("MNN.nn", extra="mnn")
            self._variables = require("MNN.expr", extra="mnn")
        source, target = file.entry.input, file.entry.output
        assert source is not None
        assert target is not None
        options = {"backend": "CPU", "precision": "high", "numThread": threads or usable_cores()}
        try:
            with _prints_to_stderr():
                runtime = networks.create_runtime_manager((options,))
                module = networks.load_module_from_file(
                    str(file.path), [source.name], [target.name], runtime_manager=runtime
                )
            found = module.get_info()
        except Exception as error:  # SystemError, for whatever MNN does not accept
            reason = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise loading_failed(file, self.runtime, reason) from None
        # MNN's files name their inputs and outputs, but not their shapes: those show in the answer.
        inputs = [Port(name, source.dtype, source.shape) for name in found["inputNames"]]
        outputs = [Port(name, target.dtype, target.shape) for name in found["outputNames"]]
        check_signature(file, self.runtime, inputs, outputs)
        super().__init__(file, module)

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        variables = self._variables
        # NCHW means "as the ONNX graph has it" here: four axes, in the order given.
        images = variables.placeholder(list(batch.shape), variables.NCHW, variables.uint8)
        images.write(batch)
        (answer,) = loaded.forward([images])
        return np.array(answer.read(), np.float32)


@contextmanager
def _prints_to_stderr() -> Iterator[None]:
    """Send what MNN prints to stderr: stdout is the program's, which may be writing JSON there."""
    with _REDIRECTION:
        if sys.stdout is not None:
            sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        try:
            yield
        finally:
            if os.name == "posix":
                # C's own buffer goes out only now, or at the exit.
                ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
