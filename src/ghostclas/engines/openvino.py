"""OpenVINO on x86 and Arm CPUs; the extra ``openvino`` installs it."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile, OutputRole, Precision
from ghostclas.engines.contract import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_signature,
    companion,
    loading_failed,
    read_onnx,
)
from ghostclas.engines.file_engine import FeatureFileEngine
from ghostclas.errors import BundleError
from ghostclas.extras import require
from ghostclas.processor import Processor, this_processor, usable_cores


class OpenVINOEngine(FeatureFileEngine):
    """An OpenVINO IR or ``.onnx`` file in OpenVINO. See ``ghostclas.engines.contract.Engine``.

    The engine computes in float32 unless ``inference_precision`` is bf16. OpenVINO by itself computes in
    bfloat16 on processors that have it, whether or not the bundle's answers were compared in it. Threads are
    not pinned to cores: beside another busy process, a pinned thread waits for its core while others idle,
    for seconds a batch when measured. Denormals are not flushed, since that would change the arithmetic of
    the caller's thread, too.
    """

    name = "openvino"
    runtime = "OpenVINO"

    @staticmethod
    def supports(precision: Precision) -> bool:
        """Return whether this processor has instructions for it."""
        core = _openvino().Core()
        return precision.upper() in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    @staticmethod
    def is_faster_in(precision: Precision) -> bool:
        """Return whether it is known to be faster than float32 on this processor."""
        return precision == "bf16" and bf16_is_faster(this_processor())

    def __init__(
        self,
        file: BundleFile,
        *,
        threads: int | None = None,
        concurrency: int = 1,
        inference_precision: Precision | None = None,
    ) -> None:
        ov = _openvino()
        self.inference_precision = inference_precision
        if file.entry.format == "onnx":
            source: Any = read_onnx(file)
        else:
            companion(file, ".xml", ".bin")
            _check_ir(file)
            source = file.path
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": inference_precision or "f32",
            "ENABLE_CPU_PINNING": False,
        }
        if concurrency == 1:
            options["PERFORMANCE_HINT"] = "LATENCY"
        else:
            # Without a stream for each, the batches of several threads would wait for each other.
            options["NUM_STREAMS"] = concurrency
            threads = threads or usable_cores()
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            core = ov.Core()
            model = core.compile_model(core.read_model(source), "CPU", options)
        except Exception as error:  # a RuntimeError, or the classes of whichever front end failed
            raise loading_failed(file, self.runtime, error) from None
        check_signature(file, self.runtime, [*map(_port, model.inputs)], [*map(_port, model.outputs)])
        idle: list[Any] = []
        super().__init__(file, (model, idle))

    def _output(self, loaded: Any, batch: UInt8NHWC, role: OutputRole) -> Float32Logits:
        model, idle = loaded
        # A request holds the tensors of one batch: whoever computes has one to itself.
        try:
            request = idle.pop()
        except IndexError:
            request = model.create_infer_request()
        results = request.infer([batch], share_inputs=True)
        rows = np.array(results[self._file.entry.outputs[role].name], np.float32)
        idle.append(request)
        return rows


def _check_ir(file: BundleFile) -> None:
    from ghostclas.engines.openvino_ir import check_ir

    try:
        check_ir(file.read())
    except ValueError as error:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} is refused and was not run: it holds {error}, which no "
            "export of a network needs; get the bundle from its maker again, or export it again"
        ) from None


_FIRST_USE = threading.Lock()


def _openvino() -> Any:
    """Return the package, ready for several threads.

    Raises:
        MissingExtraError: it is not installed.
    """
    # Importing waits for other threads, and so must not happen inside a cached call of one of them.
    with _FIRST_USE:
        ov = require("openvino", extra="openvino")
        _make_tables()
        return ov


@cache
def _make_tables() -> None:
    # OpenVINO makes its tables of types at their first use, in C++ and without the GIL's protection: two
    # threads that infer for the first time would wait for each other for ever.
    import openvino as ov

    ov.Type.u8.to_dtype()
    ov.Type(np.dtype(np.uint8))


def bf16_is_faster(processor: Processor) -> bool:
    """Return whether bf16 is faster than float32 on a processor.

    AMX has a unit for it, with which x1.0 and x1.3 are faster and x0.5 is not
    (``benchmarks/results/predict_amx.md``); AMD's cores multiply bf16 at twice the rate of float32. Intel's
    cores without AMX, or with AMX hidden by a hypervisor, do it at the rate of float32, and converting comes
    on top: GhostNet took 1.2 to 1.5 times as long on one (``benchmarks/results/predict.md``). Of other
    processors nothing is known.
    """
    return "amx_bf16" in processor.flags or (
        processor.vendor == "AuthenticAMD" and "avx512_bf16" in processor.flags
    )


def _port(port: Any) -> Port:
    element = port.get_element_type().get_type_name()
    dtype = {"u8": "uint8", "i8": "int8", "f16": "float16", "f32": "float32"}.get(element, element)
    shape = [size.get_length() if size.is_static else None for size in port.get_partial_shape()]
    return Port(port.get_any_name(), dtype, shape)
