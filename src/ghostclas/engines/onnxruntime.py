"""ONNX Runtime on the CPU: in every installation, and the default."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
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
    no_logits,
    read_onnx,
    running,
    threads_each,
)


class OnnxRuntimeEngine:
    """An ``.onnx`` file in ONNX Runtime. See ``ghostclas.engines.base.Engine``."""

    name = "onnxruntime"

    def __init__(self, file: BundleFile, *, threads: int | None = None, callers: int = 1) -> None:
        self._file = file
        each = threads_each(threads, callers)
        self._session: Any = _in_a_thread_of_its_own(_session, file, each, self._providers(file))

    def _providers(self, file: BundleFile) -> Sequence[Any]:
        """Return what computes the file, first choice first."""
        return ["CPUExecutionProvider"]

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        session = self._session
        if session is None:
            raise closed(self.name)
        entry = self._file.entry
        batch = check_images(images, entry)
        if len(batch) == 0:
            return no_logits(entry)
        assert entry.input is not None
        assert entry.output is not None
        with running(self._file, "ONNX Runtime"):
            (logits,) = session.run([entry.output.name], {entry.input.name: batch})
        return np.asarray(logits, np.float32)

    def close(self) -> None:
        """Free the session; one that is running ends first."""
        self._session = None


def _session(file: BundleFile, threads: int | None, providers: Sequence[Any]) -> Any:
    import onnxruntime as ort

    content = read_onnx(file)
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or _usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        session = ort.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # the classes it raises are private and differ by version
        raise loading_failed(file, "ONNX Runtime", error) from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    check_signature(file, "ONNX Runtime", [*map(_port, inputs)], [*map(_port, outputs)])
    return session


def _port(value: Any) -> Port:
    dtype = value.type.removeprefix("tensor(").removesuffix(")")
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return Port(value.name, {"float": "float32"}.get(dtype, dtype), shape)


def _usable_cores() -> int:
    """Return 0, the runtime's own choice, unless this process is confined to some of the cores."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if usable is None or usable == os.cpu_count() else usable


def _in_a_thread_of_its_own(function: Any, *args: Any) -> Any:
    """Call ``function`` where it may change the floating-point mode.

    ONNX Runtime flushes denormals in its own threads and in the one that creates the first session. In the
    caller's thread that would silently change the arithmetic of everything else, numpy's included.
    """
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.extend((function(*args), None))
        except BaseException as error:  # raised again below
            outcome.extend((None, error))

    thread = threading.Thread(target=call, name="ghostclas-onnxruntime")
    thread.start()
    thread.join()
    result, error = outcome
    if error is not None:
        raise error
    return result
