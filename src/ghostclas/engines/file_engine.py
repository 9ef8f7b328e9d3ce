"""What the engines share around their runtimes' own calls."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile, Precision
from ghostclas.engines.contract import (
    Float32Logits,
    UInt8NHWC,
    check_images,
    check_logits,
    closed,
    no_logits,
    running,
)


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

    @abstractmethod
    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of a checked batch of at least one image."""

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        # A name of its own: ``close`` in another thread must not take it away before the batch ends.
        loaded = self._loaded
        if loaded is None:
            raise closed(self.name)
        batch = check_images(images, self._file.entry)
        if len(batch) == 0:
            return no_logits(self._file.entry)
        with running(self._file, self.runtime):
            logits = self._compute(loaded, batch)
        return check_logits(logits, len(batch), self._file, self.name)

    def close(self) -> None:
        """Free what the runtime holds; a batch that is running ends first."""
        self._loaded = None


class SerialEngine(FileEngine):
    """An engine whose runtime holds the tensors of one batch, so that threads take turns."""

    def __init__(self, file: BundleFile, loaded: Any) -> None:
        super().__init__(file, loaded)
        self._turn = threading.Lock()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        with self._turn:
            return super().run(images)

    def close(self) -> None:
        """Free what the runtime holds; a batch that is running ends first."""
        with self._turn:
            super().close()


def one_by_one(logits: Callable[[UInt8NHWC], Float32Logits], batch: UInt8NHWC) -> Float32Logits:
    """Return the logits of a batch from a function that takes one image, ``[1, H, W, 3]``."""
    return np.concatenate([logits(batch[i : i + 1]) for i in range(len(batch))])
