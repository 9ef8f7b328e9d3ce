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
from ghostclas.engines.base import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_images,
    check_logits,
    check_signature,
    closed,
    loading_failed,
    no_logits,
    running,
    usable_cores,
)
from ghostclas.extras import require

_REDIRECTION = threading.Lock()


class MnnEngine:
    """An ``.mnn`` file in MNN. See ``ghostclas.engines.base.Engine``.

    Arithmetic is float32, ``precision: high``. A module holds the tensors of one batch, so threads
    take turns.
    """

    name = "mnn"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        with _chatter_to_stderr():
            networks = require("MNN.nn", extra="mnn")
            self._variables = require("MNN.expr", extra="mnn")
        self._file = file
        source, target = file.entry.input, file.entry.output
        assert source is not None
        assert target is not None
        options = {"backend": "CPU", "precision": "high", "numThread": threads or usable_cores()}
        try:
            with _chatter_to_stderr():
                runtime = networks.create_runtime_manager((options,))
                self._module: Any = networks.load_module_from_file(
                    str(file.path), [source.name], [target.name], runtime_manager=runtime
                )
            found = self._module.get_info()
        except Exception as error:  # SystemError, for whatever MNN does not accept
            reason = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise loading_failed(file, "MNN", reason) from None
        # MNN's files name their inputs and outputs, but not their shapes: those show in the answer.
        inputs = [Port(name, source.dtype, source.shape) for name in found["inputNames"]]
        outputs = [Port(name, target.dtype, target.shape) for name in found["outputNames"]]
        check_signature(file, "MNN", inputs, outputs)
        self._turn = threading.Lock()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        entry = self._file.entry
        with self._turn, running(self._file, "MNN"):
            if self._module is None:
                raise closed(self.name)
            batch = check_images(images, entry)
            if len(batch) == 0:
                return no_logits(entry)
            variables = self._variables
            # NCHW means "as the ONNX graph has it" here: four axes, in the order given.
            photos = variables.placeholder(list(batch.shape), variables.NCHW, variables.uint8)
            photos.write(batch)
            (answer,) = self._module.forward([photos])
            logits = np.array(answer.read(), np.float32)
        return check_logits(logits, len(batch), self._file, self.name)

    def close(self) -> None:
        """Free the module; a batch that is running ends first."""
        with self._turn:
            self._module = None


@contextmanager
def _chatter_to_stderr() -> Iterator[None]:
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
