"""The table of runtimes: a row for each, read without importing any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from ghostclas.bundle import Precision
from ghostclas.errors import UsageError, did_you_mean


class Runtime(NamedTuple):
    """A row of the table.

    Attributes:
        implementation: the engine's class, as ``module:name``. It is called with the file and ``threads``.
        package: what must be installed.
        formats: what it reads, best first.
        extra: the extra of ghostclas that installs the package.
        concurrent: batches of several threads are computed side by side, and the class takes
            ``concurrency``, the number of these threads. In the other engines the threads take turns.
        own_threads: the runtime computes in threads of its own while the caller's thread waits.
        inference_precisions: in what it can compute a floating-point file besides the file's own precision,
            where the processor can. The class takes that as ``inference_precision``. Its static methods
            ``supports`` and ``is_faster_in`` tell about this processor.
        programs: one of these must be on the path, if any is named.
        restarts_after_fork: a fork of a process that used the runtime can open it again. The others would
            wait for threads that the fork does not have.
        isolated: the runtime cannot share a process with torch. Where torch is loaded, the engine runs in a
            process of its own, which gives logits alone; see ``ghostclas.engines.isolated``.
        features: the class is a ``FeatureEngine``.
        trial_seconds: how long a file that was neither made nor tried on this machine may take in a process
            of its own, before it is loaded in this one; see ``ghostclas.engines.trials``.
    """

    implementation: str
    package: str
    formats: Sequence[str]
    extra: str | None = None
    concurrent: bool = False
    own_threads: bool = False
    inference_precisions: Sequence[Precision] = ()
    programs: Sequence[str] = ()
    restarts_after_fork: bool = False
    isolated: bool = False
    features: bool = False
    trial_seconds: int = 60

    def load_class(self) -> Any:
        """Import the engine's class."""
        module, _, name = self.implementation.partition(":")
        return getattr(import_module(module), name)


ENGINES: Mapping[str, Runtime] = {
    "onnxruntime": Runtime(
        "ghostclas.engines.onnxruntime:OnnxRuntimeEngine",
        "onnxruntime",
        ("onnx", "paddle2onnx"),
        concurrent=True,
        restarts_after_fork=True,
        features=True,
    ),
    "openvino": Runtime(
        "ghostclas.engines.openvino:OpenVINOEngine",
        "openvino",
        ("openvino", "onnx"),
        extra="openvino",
        concurrent=True,
        own_threads=True,
        restarts_after_fork=True,
        inference_precisions=("bf16",),
        features=True,
    ),
    "ncnn": Runtime("ghostclas.engines.ncnn:NcnnEngine", "ncnn", ("ncnn",), extra="ncnn", concurrent=True),
    "mnn": Runtime("ghostclas.engines.mnn:MnnEngine", "MNN", ("mnn",), extra="mnn"),
    "litert": Runtime("ghostclas.engines.litert:LiteRTEngine", "ai_edge_litert", ("litert",), extra="litert"),
    "executorch": Runtime(
        "ghostclas.engines.executorch:ExecuTorchEngine",
        "executorch",
        ("executorch",),
        extra="executorch",
    ),
    "paddle": Runtime("ghostclas.engines.paddle:PaddleEngine", "paddle", ("paddle",), extra="paddle"),
    "torch": Runtime(
        "ghostclas.engines.torch:TorchEngine", "torch", ("torch",), extra="export", features=True
    ),
    "inductor": Runtime(
        "ghostclas.engines.inductor:InductorEngine",
        "torch",
        ("torch",),
        extra="export",
        programs=("g++", "clang++"),
        features=True,
        trial_seconds=600,  # it compiles
    ),
    "tensorrt": Runtime(
        "ghostclas.engines.tensorrt:TensorRTEngine",
        "tensorrt",
        ("onnx",),
        extra="tensorrt",
        features=True,
        trial_seconds=1200,  # it builds engines
    ),
}
"""``auto`` looks in this order, after what is faster in another precision."""

DEFAULT_ENGINE = "onnxruntime"
"""What ``auto`` takes for files from elsewhere: it withstood every damaged file that was tried."""


def installed_engines() -> list[str]:
    """Return the engines whose package is installed, in the order of the table; imports none of them."""
    return [
        name
        for name, runtime in ENGINES.items()
        if is_installed(runtime.package) and (not runtime.programs or _has_one_of(runtime.programs))
    ]


def find_runtime(name: str) -> Runtime:
    """Return the row of an engine.

    Raises:
        UsageError: there is none of that name; the text has the nearest.
    """
    if name not in ENGINES:
        near = did_you_mean(name, ENGINES) or f"; there are: auto, {', '.join(ENGINES)}"
        raise UsageError(f"there is no engine {name!r}{near}")
    return ENGINES[name]


def workers_per_core(name: str) -> int:
    """Return how many threads that prepare batches and call ``run`` keep a core busy.

    Where the runtime computes in threads of its own, a second worker prepares its batch while the first
    waits; in ONNX Runtime, which has none, two workers a core were no faster than one.
    """
    return 2 if find_runtime(name).own_threads else 1


def _has_one_of(programs: Sequence[str]) -> bool:
    from shutil import which

    return any(map(which, programs))


def is_installed(package: str) -> bool:
    """Return whether a runtime's package is there; does not import it."""
    spec = find_spec(package)
    if spec is None or spec.origin is not None:
        return spec is not None
    # A namespace: one that was installed, or a folder of that name that lies around, such as a bundle's own.
    from importlib import metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
