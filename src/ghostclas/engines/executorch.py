"""ExecuTorch with XNNPACK on the CPU, one photo at a time; the extra ``executorch`` installs it.

It serves to check here what a phone will run: its Python package needs torch, and its threads are its own.
"""

from __future__ import annotations

import threading
import warnings
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
)
from ghostclas.extras import require


class ExecuTorchEngine:
    """A ``.pte`` file in ExecuTorch. See ``ghostclas.engines.base.Engine``.

    ``threads`` is accepted and has no effect: one pool serves the whole process. A method holds the
    tensors of one photo, so threads take turns.
    """

    name = "executorch"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        with warnings.catch_warnings():
            # Importing it warns of its own experiments and of what it uses.
            warnings.simplefilter("ignore")
            runtime = require("executorch.runtime", extra="executorch")
        self._torch = require("torch", extra="executorch")
        self._file = file
        source, target = file.entry.input, file.entry.output
        assert source is not None
        assert target is not None
        content = file.read()
        try:
            program = runtime.Runtime.get().load_program(
                content, verification=runtime.Verification.InternalConsistency
            )
            self._method: Any = program.load_method("forward")
            found = self._method.metadata
            inputs = [_port(source.name, found.input_tensor_meta(i)) for i in range(found.num_inputs())]
            outputs = [_port(target.name, found.output_tensor_meta(i)) for i in range(found.num_outputs())]
        except Exception as error:  # RuntimeError with a number; other classes for other damage
            raise loading_failed(file, "ExecuTorch", error) from None
        check_signature(file, "ExecuTorch", inputs, outputs)
        # The program lives in these bytes and the method in the program.
        self._kept: tuple[Any, ...] = (content, program)
        self._turn = threading.Lock()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        torch = self._torch

        def logits(photo: UInt8NHWC) -> Float32Logits:
            # A copy on both sides: the caller's array may be read-only, and the answer lives in the method.
            (answer,) = self._method.execute([torch.tensor(photo)])
            return np.array(answer.numpy(), np.float32)

        with self._turn, running(self._file, "ExecuTorch"):
            if self._method is None:
                raise closed(self.name)
            return one_by_one(logits, check_images(images, self._file.entry), self._file, self.name)

    def close(self) -> None:
        """Free the program; a batch that is running ends first."""
        with self._turn:
            self._method = None
            self._kept = ()


def _port(name: str, meta: Any) -> Port:
    dtype = {0: "uint8", 1: "int8", 5: "float16", 6: "float32"}.get(int(meta.dtype()), str(meta.dtype()))
    return Port(name, dtype, [*map(int, meta.sizes())])
