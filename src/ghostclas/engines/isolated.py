"""An engine in a process of its own: ``python -m ghostclas.engines.isolated``.

The worker reads messages from its standard input and answers on what was its standard output; whatever the
runtime prints goes to the standard error. A message is the length of a JSON header, the header, and as many
bytes of an array as its ``shape`` and ``dtype`` say.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from threading import Timer
from typing import Any, BinaryIO, NamedTuple
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, BundleFile, Precision
from ghostclas.engines.contract import Float32Logits, UInt8NHWC
from ghostclas.engines.file_engine import SerialEngine
from ghostclas.engines.table import Runtime
from ghostclas.errors import BundleError, MissingExtraError, UsageError

_ERRORS: Mapping[str, type[Exception]] = {
    kind.__name__: kind for kind in (BundleError, MissingExtraError, UsageError, MemoryError)
}

SECONDS_TO_END = 5.0
"""How long a worker may take to end by itself once nobody asks it anything."""


class Limits(NamedTuple):
    """What a worker may take in all, until it ends; beyond that it is killed.

    Windows and macOS do not bound memory; Windows does not bound CPU time either.
    """

    seconds: float  # from start to end
    cpu_seconds: int
    memory: int  # bytes that it writes to, not those of its libraries


class WorkerEndedError(BundleError):
    """A worker ended before it answered; ``status`` is its exit status, below 0 the signal."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class IsolatedEngine(SerialEngine):
    """An engine that runs in a worker. See ``ghostclas.engines.contract.Engine``.

    With ``limits``, the worker may take no more than these, and nobody hears what the runtime prints.

    Images and logits go through pipes. The worker's errors are raised here, by the same class; a worker that
    dies is an error, too, and stays one until the engine is opened again. It ends with this engine or with
    this process, whichever comes first.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        file: BundleFile,
        *,
        threads: int | None = None,
        inference_precision: Precision | None = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.runtime = f"{name}'s worker"
        self.inference_precision = inference_precision
        if inference_precision is not None:
            options["inference_precision"] = inference_precision
        worker = subprocess.Popen(  # our own module, on our own interpreter
            [sys.executable, "-P", "-m", "ghostclas.engines.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if limits else None,
        )
        # Without the process id, a fork of this process would end the worker when it ends.
        self._end = finalize(self, _end, worker, os.getpid())
        super().__init__(file, worker)
        self._timer = Timer(limits.seconds, worker.kill) if limits else None
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        job = {
            "implementation": runtime.implementation,
            "bundle": str(file.bundle.path.absolute()),
            "file": file.entry.path,
            "sha256": {entry.path: entry.sha256 for entry in (file.entry, *file.companions)},
            "limits": limits and limits._asdict(),
            "options": {"threads": threads, **options},
        }
        try:
            self._ask(worker, job)
        except BaseException:
            self.close()
            raise

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        answer = self._ask(loaded, {}, batch)
        assert answer is not None
        return answer

    def _ask(
        self, worker: Any, message: dict[str, Any], array: UInt8NHWC | None = None
    ) -> Float32Logits | None:
        try:
            _send(worker.stdin, message, array)
            answer, logits = _receive(worker.stdout)
        except (OSError, EOFError):
            worker.kill()
            where = f"{self._file.bundle.path}: {self._file.entry.path}"
            status = worker.wait()
            raise WorkerEndedError(
                f"{where}: the worker of {self.name} has ended (exit status {status}); open it again", status
            ) from None
        except BaseException:
            # Half a message is in a pipe: what comes next would be taken for its other half.
            worker.kill()
            raise
        if "error" in answer:
            raise _ERRORS.get(answer["error"], RuntimeError)(answer["message"])
        return logits

    def close(self) -> None:
        """End the worker; a batch that is running ends first."""
        super().close()
        if self._timer is not None:
            self._timer.cancel()
        self._end()


def _end(worker: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    for pipe in (worker.stdin, worker.stdout):
        # A worker that is dead already has not read what was left in the pipe.
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    try:
        worker.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def _send(pipe: BinaryIO, message: dict[str, Any], array: NDArray[Any] | None = None) -> None:
    if array is not None:
        message = {**message, "shape": array.shape, "dtype": array.dtype.str}
    header = json.dumps(message).encode()
    pipe.write(struct.pack("<I", len(header)) + header)
    if array is not None:
        pipe.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    pipe.flush()


def _receive(pipe: BinaryIO) -> tuple[dict[str, Any], NDArray[Any] | None]:
    message = json.loads(_read(pipe, struct.unpack("<I", _read(pipe, 4))[0]))
    if "shape" not in message:
        return message, None
    array = np.empty(message["shape"], np.dtype(message["dtype"]))
    if array.size:
        array.data.cast("B")[:] = _read(pipe, array.nbytes)
    return message, array


def _read(pipe: BinaryIO, count: int) -> bytes:
    content = pipe.read(count)
    if len(content) < count:
        raise EOFError
    return content


def main() -> None:
    """Load the file that the first message names, then answer batches until the input ends."""
    # Ctrl-C reaches the worker, too; whoever asks it decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    # Standard output is a pipe of messages: nothing else may get into it.
    os.dup2(2, 1)
    engine: Any = None
    while True:
        try:
            message, images = _receive(requests)
        except EOFError:
            return
        try:
            if engine is None:
                engine = _open(message)
                _send(answers, {})
            else:
                _send(answers, {}, engine.run(images))
        except BrokenPipeError:
            return
        except Exception as error:  # whatever a runtime raises; the other side raises it
            _send(answers, {"error": type(error).__name__, "message": str(error)})


def _open(job: dict[str, Any]) -> Any:
    if job["limits"] is not None:
        _limit(Limits(**job["limits"]))
    module, _, name = job["implementation"].partition(":")
    implementation = getattr(import_module(module), name)
    bundle = Bundle.open(job["bundle"])
    entries = {entry.path: entry for entry in bundle.manifest.files}
    for path, sha256 in job["sha256"].items():
        if path not in entries or entries[path].sha256 != sha256:
            raise BundleError(f"{job['bundle']}: {path} was replaced since the bundle was opened")
    return implementation(BundleFile(bundle, entries[job["file"]]), **job["options"])


def _limit(limits: Limits) -> None:
    """Let the system kill this process where it takes more."""
    if sys.platform == "win32":
        return
    import resource

    # Not addresses in all: runtimes reserve many that they never use.
    for what, most in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(what)
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        # Some systems bound a kind by nothing.
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main()
