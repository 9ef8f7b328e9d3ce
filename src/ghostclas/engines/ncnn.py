"""ncnn on the CPU, one image at a time; the extra ``ncnn`` installs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_signature,
    companion,
    loading_failed,
    threads_per_batch,
)
from ghostclas.engines.file_engine import FileEngine, one_by_one
from ghostclas.extras import require
from ghostclas.processor import usable_cores


class NcnnEngine(FileEngine):
    """A ``.param`` file with its ``.bin`` in ncnn. See ``ghostclas.engines.contract.Engine``.

    The engine computes in float32 on every processor. ncnn by itself computes in half precision where it
    can, so that the same bundle would answer differently from machine to machine. Denormals are flushed in
    ncnn's calls.
    """

    name = "ncnn"
    runtime = "ncnn"

    def __init__(self, file: BundleFile, *, threads: int | None = None, concurrency: int = 1) -> None:
        self._ncnn = require("ncnn", extra="ncnn")
        graph = file.path
        weights = companion(file, ".param", ".bin")
        network = float_network(self._ncnn, threads_per_batch(threads, concurrency) or usable_cores())
        if network.load_param(str(graph)) or network.load_model(str(weights)):
            raise loading_failed(file, self.runtime, ValueError("it is no complete ncnn network"))
        source, target = file.entry.input, file.entry.output
        assert source is not None
        assert target is not None
        # ncnn's files name their inputs and outputs, but not their shapes: those show in the answer.
        inputs = [Port(name, "float32", source.shape) for name in network.input_names()]
        outputs = [Port(name, "float32", target.shape) for name in network.output_names()]
        check_signature(file, self.runtime, inputs, outputs)
        self._input, self._output = source.name, target.name
        super().__init__(file, network)

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        def logits(image: UInt8NHWC) -> Float32Logits:
            # A Mat borrows the array's memory, which therefore has to have a name.
            planes = np.ascontiguousarray(image[0].transpose(2, 0, 1), dtype=np.float32)
            extractor = loaded.create_extractor()
            extractor.input(self._input, self._ncnn.Mat(planes))
            failed, answer = extractor.extract(self._output)
            if failed:
                raise ValueError(f"it gives no {self._output}")
            return np.array(answer, np.float32).reshape(1, -1)

        return one_by_one(logits, batch)


def float_network(ncnn: Any, threads: int) -> Any:
    """Return an empty ``ncnn.Net`` that computes in float32 where it does not compute in int8."""
    network = ncnn.Net()
    network.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(network.opt, f"use_{option}", False)
    return network
