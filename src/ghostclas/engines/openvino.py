"""OpenVINO on x86 and Arm CPUs; the extra ``openvino`` installs it."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile, Precision
from ghostclas.engines.base import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_images,
    check_signature,
    closed,
    companion,
    loading_failed,
    no_logits,
    read_onnx,
    running,
    usable_cores,
)
from ghostclas.extras import require


class OpenVINOEngine:
    """An OpenVINO IR or ``.onnx`` file in OpenVINO. See ``ghostclas.engines.base.Engine``.

    Arithmetic is float32 unless ``arithmetic`` is bf16: left alone, OpenVINO computes in bfloat16 on
    processors that have it, whether or not the bundle's answers were compared in it. Threads are not pinned
    to cores: beside another busy process, a pinned thread waits for its core while others idle, for seconds
    a batch when measured.
    Denormals are left alone, since flushing them would change the caller's arithmetic, too.
    """

    name = "openvino"

    @staticmethod
    def computes(arithmetic: Precision) -> bool:
        """Return whether this processor has instructions for it."""
        core = require("openvino", extra="openvino").Core()
        return arithmetic.upper() in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    @staticmethod
    def gains(arithmetic: Precision) -> bool:
        """Return whether it is known to be faster than float32 on this processor."""
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return arithmetic == "bf16" and bf16_gains(cpuinfo)

    def __init__(
        self,
        file: BundleFile,
        *,
        threads: int | None = None,
        callers: int = 1,
        arithmetic: Precision | None = None,
    ) -> None:
        ov = require("openvino", extra="openvino")
        self._file = file
        self.arithmetic = arithmetic
        if file.entry.format == "onnx":
            source: Any = read_onnx(file)
        else:
            companion(file, ".xml", ".bin")
            source = file.path
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": arithmetic or "f32",
            "ENABLE_CPU_PINNING": False,
        }
        if callers == 1:
            options["PERFORMANCE_HINT"] = "LATENCY"
        else:
            # Batches of several callers would otherwise wait for each other.
            options["NUM_STREAMS"] = callers
            threads = threads or usable_cores()
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            core = ov.Core()
            self._model: Any = core.compile_model(core.read_model(source), "CPU", options)
        except Exception as error:  # a RuntimeError, or the classes of whichever front end failed
            raise loading_failed(file, "OpenVINO", error) from None
        inputs, outputs = self._model.inputs, self._model.outputs
        check_signature(file, "OpenVINO", [*map(_port, inputs)], [*map(_port, outputs)])
        self._own = threading.local()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        model = self._model
        if model is None:
            raise closed(self.name)
        batch = check_images(images, self._file.entry)
        if len(batch) == 0:
            return no_logits(self._file.entry)
        # A request holds the tensors of one batch: threads cannot share it.
        own = self._own
        if not hasattr(own, "request"):
            own.request = model.create_infer_request()
        with running(self._file, "OpenVINO"):
            results = own.request.infer([batch], share_inputs=True)
        return np.array(results[0], np.float32)

    def close(self) -> None:
        """Free the compiled model; a batch that is running ends first."""
        self._model = None
        self._own = threading.local()


def bf16_gains(cpuinfo: str) -> bool:
    """Return whether bf16 is faster than float32 on the processor that Linux describes so.

    AMX has a unit for it (not measured yet), and AMD's cores multiply bf16 at twice the rate of float32.
    Intel's cores without AMX, or with AMX hidden by a hypervisor, do it at the rate of float32, and
    converting comes on top: GhostNet took 1.2 to 1.5 times as long on one
    (``benchmarks/results/predict.md``). Of other processors nothing is known.
    """
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    if not vendor or not flags:
        return False
    has = flags[1].split()
    return "amx_bf16" in has or (vendor[1] == "AuthenticAMD" and "avx512_bf16" in has)


def _port(port: Any) -> Port:
    element = port.get_element_type().get_type_name()
    dtype = {"u8": "uint8", "i8": "int8", "f16": "float16", "f32": "float32"}.get(element, element)
    shape = [size.get_length() if size.is_static else None for size in port.get_partial_shape()]
    return Port(port.get_any_name(), dtype, shape)
