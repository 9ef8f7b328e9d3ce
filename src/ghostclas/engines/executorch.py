"""ExecuTorch with XNNPACK on the CPU, one image at a time; the extra ``executorch`` installs it.

The engine checks here what a phone will run. ExecuTorch's Python package needs torch, and its threads are
its own.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import Float32Logits, Port, UInt8NHWC, check_signature, loading_failed
from ghostclas.engines.file_engine import SerialEngine, one_by_one
from ghostclas.extras import require


class ExecuTorchEngine(SerialEngine):
    """A ``.pte`` file in ExecuTorch. See ``ghostclas.engines.contract.Engine``.

    ``threads`` is accepted and has no effect: one pool serves the whole process.
    """

    name = "executorch"
    runtime = "ExecuTorch"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        with warnings.catch_warnings():
            # Importing it warns of its own experiments and of what it uses.
            warnings.simplefilter("ignore")
            executorch = require("executorch.runtime", extra="executorch")
        self._torch = require("torch", extra="executorch")
        source, target = file.entry.input, file.entry.output
        assert source is not None
        assert target is not None
        content = file.read()
        try:
            program = executorch.Runtime.get().load_program(
                content, verification=executorch.Verification.InternalConsistency
            )
            method = program.load_method("forward")
            found = method.metadata
            inputs = [_port(source.name, found.input_tensor_meta(i)) for i in range(found.num_inputs())]
            outputs = [_port(target.name, found.output_tensor_meta(i)) for i in range(found.num_outputs())]
        except Exception as error:  # RuntimeError with a number; other classes for other damage
            raise loading_failed(file, self.runtime, error) from None
        check_signature(file, self.runtime, inputs, outputs)
        # The method lives in the program, and the program in these bytes.
        super().__init__(file, (method, program, content))

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        method, *_ = loaded

        def logits(image: UInt8NHWC) -> Float32Logits:
            # A copy on both sides: the caller's array may be read-only, and the answer lives in the method.
            (answer,) = method.execute([self._torch.tensor(image)])
            return np.array(answer.numpy(), np.float32)

        return one_by_one(logits, batch)


def _port(name: str, meta: Any) -> Port:
    dtype = {0: "uint8", 1: "int8", 5: "float16", 6: "float32"}.get(int(meta.dtype()), str(meta.dtype()))
    return Port(name, dtype, [*map(int, meta.sizes())])
