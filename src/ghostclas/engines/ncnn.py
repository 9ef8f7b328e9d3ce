"""ncnn on the CPU, one photo at a time; the extra ``ncnn`` installs it."""

from __future__ import annotations

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
    companion,
    loading_failed,
    one_by_one,
    threads_each,
    usable_cores,
)
from ghostclas.extras import require


class NcnnEngine:
    """A ``.param`` file with its ``.bin`` in ncnn. See ``ghostclas.engines.base.Engine``.

    Arithmetic is float32 on every processor: left alone, ncnn computes in half precision where it can, and
    the same bundle would answer differently from machine to machine. Denormals are flushed in ncnn's calls.
    """

    name = "ncnn"

    def __init__(self, file: BundleFile, *, threads: int | None = None, callers: int = 1) -> None:
        self._ncnn = require("ncnn", extra="ncnn")
        self._file = file
        graph = file.path
        weights = companion(file, ".param", ".bin")
        network = float_network(self._ncnn, threads_each(threads, callers) or usable_cores())
        if network.load_param(str(graph)) or network.load_model(str(weights)):
            raise loading_failed(file, "ncnn", ValueError("it is no complete ncnn network"))
        assert file.entry.input is not None
        assert file.entry.output is not None
        # ncnn's files name their inputs and outputs, but not their shapes: those show in the answer.
        inputs = [Port(name, "float32", file.entry.input.shape) for name in network.input_names()]
        outputs = [Port(name, "float32", file.entry.output.shape) for name in network.output_names()]
        check_signature(file, "ncnn", inputs, outputs)
        self._network: Any = network

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        network, entry = self._network, self._file.entry
        if network is None:
            raise closed(self.name)
        source, target = entry.input, entry.output
        assert source is not None
        assert target is not None

        def logits(photo: UInt8NHWC) -> Float32Logits:
            # A Mat borrows the array's memory, which therefore has to have a name.
            planes = np.ascontiguousarray(photo[0].transpose(2, 0, 1), dtype=np.float32)
            extractor = network.create_extractor()
            extractor.input(source.name, self._ncnn.Mat(planes))
            failed, answer = extractor.extract(target.name)
            if failed:
                raise loading_failed(self._file, "ncnn", ValueError("it cannot be run on photos"))
            return np.array(answer, np.float32).reshape(1, -1)

        return one_by_one(logits, check_images(images, entry), self._file, self.name)

    def close(self) -> None:
        """Free the network; a photo that is running ends first."""
        self._network = None


def float_network(ncnn: Any, threads: int) -> Any:
    """Return an empty ``ncnn.Net`` that computes in float32 where it does not compute in int8."""
    network = ncnn.Net()
    network.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(network.opt, f"use_{option}", False)
    return network
