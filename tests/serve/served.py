"""The built-in model behind the service, in engines that block or fail when a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, Precision, default_bundle_path
from ghostclas.engines import Engine, open_engine
from ghostclas.serve.limits import Limits
from ghostclas.serve.model import ServedModel
from ghostclas.serve.service import Service
from tests.images import encode, photo

SECONDS = 60.0
"""Longer than anything here waits."""


@cache
def builtin_bundle() -> Bundle:
    return Bundle.open(default_bundle_path())


@cache
def builtin_engine() -> Engine:
    return open_engine("onnxruntime", builtin_bundle(), threads=1)


def builtin_model(name: str = "default", *, engine: Engine | None = None, batch: int = 1) -> ServedModel:
    """The built-in model; without ``engine`` in an engine that all tests of a process share."""
    runtime = engine or Shared(builtin_engine())
    return ServedModel.of(name, builtin_bundle(), runtime, batch=batch)


@cache
def jpeg(seed: int = 0) -> bytes:
    return encode(photo(80, 70, seed), "JPEG")


class Shared:
    """An engine that outlives the services that close it; subclasses change what it does."""

    name = "onnxruntime"
    inference_precision: Precision | None = None

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.closed = False
        self.sizes: list[int] = []

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.append(len(images))
        return self.inner.run(images)

    def close(self) -> None:
        self.closed = True


class Gate(Shared):
    """An engine whose batches wait until the gate is open; ``entered`` counts those that came to it."""

    def __init__(self) -> None:
        super().__init__(builtin_engine())
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.entered.release()
        assert self.open.wait(SECONDS)
        return super().run(images)

    def wait(self) -> None:
        """Wait for one more batch to arrive."""
        assert self.entered.acquire(timeout=SECONDS)


class Failing(Shared):
    """An engine that raises what ``fault`` returns for a batch, if it returns something."""

    def __init__(self, fault: Callable[[NDArray[np.uint8]], BaseException | None]) -> None:
        super().__init__(builtin_engine())
        self.fault = fault

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        error = self.fault(images)
        if error is not None:
            self.sizes.append(len(images))
            raise error
        return super().run(images)


@contextmanager
def serving(*models: ServedModel, threads: int = 1, **limits: Any) -> Iterator[Service]:
    """A service of these models; of the built-in one where there are none."""
    service = Service(models or [builtin_model()], replace(Limits(), **limits), threads=threads)
    try:
        yield service
    finally:
        for model in models:
            if isinstance(model.runtime, Gate):
                model.runtime.open.set()
        assert service.close(SECONDS), "a thread of the service did not end"
