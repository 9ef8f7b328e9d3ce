"""The base classes of engines, around the calls of their runtimes."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numpy as np

from ghostclas.bundle import BundleFile, OutputRole, Precision, TensorSpec
from ghostclas.engines.contract import (
    Float32Logits,
    UInt8NHWC,
    check_images,
    check_rows,
    closed,
    features_of,
    forked,
    no_rows,
    running,
)

_OPEN: WeakSet[FileEngine] = WeakSet()
_BEFORE_FORK: set[str] = set()


class FileEngine(ABC):
    """One file of a bundle, loaded into one runtime. See ``ghostclas.engines.contract.Engine``.

    A subclass loads the file in ``__init__``, gives what the runtime returned to this class, and computes
    batches with it in ``_compute``. ``runtime`` is the runtime's name as its makers spell it.
    """

    name: str
    runtime: str
    inference_precision: Precision | None = None

    def __init__(self, file: BundleFile, loaded: Any) -> None:
        self._file = file
        self._loaded = loaded
        self._process = os.getpid()
        _OPEN.add(self)

    @abstractmethod
    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of a checked batch of at least one image."""

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        output = self._file.entry.output
        assert output is not None
        return self._checked(images, output, self._compute)

    def _checked(
        self, images: UInt8NHWC, output: TensorSpec, compute: Callable[[Any, UInt8NHWC], Float32Logits]
    ) -> Float32Logits:
        """Return the result of ``compute`` for the images, checked before and after."""
        self._check_process()
        # A local name: ``close`` in another thread must not remove it before the batch ends.
        loaded = self._loaded
        if loaded is None:
            raise closed(self.name)
        batch = check_images(images, self._file.entry)
        if len(batch) == 0:
            return no_rows(output)
        with running(self._file, self.runtime):
            rows = compute(loaded, batch)
        return check_rows(rows, len(batch), output, self._file, self.name)

    def close(self) -> None:
        """Free what the runtime holds; a batch that is running ends first."""
        self._loaded = None

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise forked(self.name, self._process)

    def _abandon(self) -> None:
        """Keep a forked process from using or freeing the runtime, whose threads the fork does not have.

        Freeing would wait for these threads for ever, at the latest when the process ends.
        """
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._loaded))
        self._loaded = None


class FeatureFileEngine(FileEngine):
    """An engine that gives every output that its file has. See ``ghostclas.engines.contract.FeatureEngine``.

    A subclass computes the output of a role in ``_output``.
    """

    @abstractmethod
    def _output(self, loaded: Any, batch: UInt8NHWC, role: OutputRole) -> Float32Logits:
        """Return one output, float32 ``[N, C]``, of a checked batch of at least one image."""

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        return self._output(loaded, batch, "logits")

    def embed(self, images: UInt8NHWC) -> Float32Logits:
        """Return the pooled features, float32 ``[N, D]``, of uint8 ``[N, H, W, 3]``."""
        return self._checked(
            images, features_of(self._file), lambda loaded, batch: self._output(loaded, batch, "features")
        )


class SerialEngine(FileEngine):
    """An engine whose runtime holds the tensors of one batch, so that threads take turns."""

    def __init__(self, file: BundleFile, loaded: Any) -> None:
        super().__init__(file, loaded)
        self._turn = threading.Lock()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        # Before the lock, which another thread may have held at the fork.
        self._check_process()
        with self._turn:
            return super().run(images)

    def close(self) -> None:
        """Free what the runtime holds; a batch that is running ends first."""
        if self._process == os.getpid():
            with self._turn:
                super().close()


def one_by_one(logits: Callable[[UInt8NHWC], Float32Logits], batch: UInt8NHWC) -> Float32Logits:
    """Return the logits of a batch from a function that takes one image, ``[1, H, W, 3]``."""
    return np.concatenate([logits(batch[i : i + 1]) for i in range(len(batch))])


def opened_before_fork(name: str) -> bool:
    """Return whether this process was forked from one that had opened the engine ``name``."""
    return name in _BEFORE_FORK


def _after_fork() -> None:
    for engine in list(_OPEN):
        _BEFORE_FORK.add(engine.name)
        engine._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
