"""ONNX Runtime on the CPU: in every installation, and the default."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile, OutputRole
from ghostclas.engines.contract import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_signature,
    loading_failed,
    read_onnx,
    threads_per_batch,
)
from ghostclas.engines.file_engine import FeatureFileEngine
from ghostclas.processor import all_cores, usable_cores


class OnnxRuntimeEngine(FeatureFileEngine):
    """An ``.onnx`` file in ONNX Runtime. See ``ghostclas.engines.contract.Engine``."""

    name = "onnxruntime"
    runtime = "ONNX Runtime"

    def __init__(self, file: BundleFile, *, threads: int | None = None, concurrency: int = 1) -> None:
        threads = threads_per_batch(threads, concurrency)
        super().__init__(file, in_its_own_thread(_session, file, threads, self._providers(file)))
        assert file.entry.input is not None
        self._input = file.entry.input.name

    def _providers(self, file: BundleFile) -> Sequence[Any]:
        """Return what computes the file, first choice first."""
        return ["CPUExecutionProvider"]

    def _output(self, loaded: Any, batch: UInt8NHWC, role: OutputRole) -> Float32Logits:
        (rows,) = loaded.run([self._file.entry.outputs[role].name], {self._input: batch})
        return np.asarray(rows, np.float32)


def _session(file: BundleFile, threads: int | None, providers: Sequence[Any]) -> Any:
    session = create_session(file, read_onnx(file), threads, providers)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    check_signature(file, OnnxRuntimeEngine.runtime, [*map(_port, inputs)], [*map(_port, outputs)])
    return session


def create_session(
    file: BundleFile,
    content: bytes,
    threads: int | None = None,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
) -> Any:
    """Return an ``InferenceSession`` of ``content``, the graph of ``file``; see ``in_its_own_thread``.

    Raises:
        BundleError: ONNX Runtime does not accept it.
    """
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or _default_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return ort.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # the classes it raises are private and differ by version
        raise loading_failed(file, OnnxRuntimeEngine.runtime, error) from None


def _port(value: Any) -> Port:
    dtype = value.type.removeprefix("tensor(").removesuffix(")")
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return Port(value.name, {"float": "float32"}.get(dtype, dtype), shape)


def _default_threads() -> int:
    """Return 0, the runtime's own choice, unless this process is confined to some of the cores."""
    return 0 if usable_cores() == all_cores() else usable_cores()


def in_its_own_thread(function: Any, *args: Any) -> Any:
    """Call ``function`` where it may change the floating-point mode.

    ONNX Runtime flushes denormals in its own threads and in the one that creates the first session. In the
    caller's thread that would silently change the arithmetic of everything else, numpy's included. The caller
    waits for an event, not in ``Thread.join``: Python 3.11 forgets a thread whose ``join`` Ctrl-C interrupts,
    and ends while it still computes.
    """
    outcome: list[Any] = []
    done = threading.Event()

    def call() -> None:
        try:
            outcome.extend((function(*args), None))
        except BaseException as error:  # raised again below
            outcome.extend((None, error))
        finally:
            done.set()

    threading.Thread(target=call, name="ghostclas-onnxruntime").start()
    done.wait()
    result, error = outcome
    if error is not None:
        raise error
    return result
