"""Models by name: validated input in, logits or a designed error out. Knows no wire format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostclas.errors import did_you_mean
from ghostclas.prediction.answers import to_predictions
from ghostclas.serve.batching import Batcher, BatchReport, Lane, Photo, Row
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.model import ServedModel
from ghostclas.spec import Prediction, PredictionError

__all__ = ["Answer", "Request", "ServedModel", "Service"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a protocol asks for.

    Attributes:
        images: encoded files, or pixels uint8 ``[N, side, side, 3]`` RGB.
        model: its name; ``None`` is the first.
        version: of the model, where the client insists on one.
        deadline: by ``time.monotonic``; ``None`` is ``limits.request_seconds`` from now.
        request_id: for the log.
        trace: a W3C ``traceparent``, for the log.
    """

    images: Sequence[bytes] | NDArray[np.uint8]
    model: str | None = None
    version: str | None = None
    deadline: float | None = None
    request_id: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a request's images, in order, and the very model that gave them.

    Each row is float32 logits ``[C]``, or a ``PredictionError``: why the image has none.
    """

    model: ServedModel
    rows: Sequence[Row]

    def predictions(self, top: int = 5) -> list[Prediction]:
        """Return the prediction of each image; errors keep their places.

        Args:
            top: the number of labels of each image, best first; at most the number of classes.

        Raises:
            UsageError: ``top`` is not positive.
        """
        logits = [row for row in self.rows if not isinstance(row, PredictionError)]
        answered = iter(
            to_predictions(
                np.stack(logits) if logits else np.empty((0, len(self.model.classes)), np.float32),
                self.model.classes,
                self.model.postprocess,
                top=top,
            )
        )
        return [
            Prediction(file=None, error=row) if isinstance(row, PredictionError) else next(answered)
            for row in self.rows
        ]

    def first_error(self) -> tuple[int, PredictionError] | None:
        """Return the index and the error of the first image without logits, if there is one."""
        for index, row in enumerate(self.rows):
            if isinstance(row, PredictionError):
                return index, row
        return None


class Service:
    """The models of one process. Its coroutines run in one event loop.

    Args:
        models: at least one, with names of their own; the first is the default.
        limits: what it accepts.
        threads: how many images or batches are computed at once.
        observe: called after each batch, by the thread that computed it.
        report: called with each failure of kind FAILED; its cause is the exception.
    """

    def __init__(
        self,
        models: Iterable[ServedModel],
        limits: Limits | None = None,
        *,
        threads: int = 1,
        observe: Callable[[BatchReport], None] = lambda report: None,
        report: Callable[[ServeError], None] = lambda failure: None,
    ) -> None:
        self._report = report
        self.limits = limits or Limits()
        self.draining = False
        self.started = time.time()
        self._batcher = Batcher(
            threads=threads,
            queue_images=self.limits.queue_images,
            queue_bytes=self.limits.queue_bytes,
            observe=observe,
        )
        self._models: dict[str, tuple[ServedModel, Lane]] = {
            model.name: (model, self._batcher.add(model)) for model in models
        }
        self._pending = 0
        self._idle: asyncio.Event | None = None

    @property
    def names(self) -> Sequence[str]:
        """The models' names; the first is the default."""
        return tuple(self._models)

    @property
    def ready(self) -> bool:
        """Whether requests are answered: not while it drains or a batch hangs."""
        return not self.draining and not self.hung

    @property
    def hung(self) -> bool:
        """Whether a batch has taken longer than ``limits.hang_seconds``."""
        return self._batcher.longest() > self.limits.hang_seconds

    @property
    def pending(self) -> int:
        """How many requests have no answer yet."""
        return self._pending

    @property
    def waiting(self) -> int:
        """How many images wait for a thread."""
        return self._batcher.waiting

    @property
    def waiting_bytes(self) -> int:
        """How many bytes these images have."""
        return self._batcher.waiting_bytes

    def model(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Return the model of a name, now; ``None`` is the first.

        Raises:
            ServeError: NOT_FOUND: there is none of that name, or it has another version.
        """
        return self._lane(name, version)[0]

    def refuse_if_draining(self) -> None:
        """Raise DRAINING while the server shuts down; protocols call it before they read a body."""
        if self.draining:
            raise ServeError(Kind.DRAINING, "the server is shutting down", retry_after=1.0)

    async def answer(self, request: Request) -> Answer:
        """Return the rows of a request's images.

        Cancelling the task drops what has not begun.

        Raises:
            ServeError: see ``Kind``.
        """
        self.refuse_if_draining()
        model, lane = self._lane(request.model, request.version)
        images = self._checked(request.images, model)
        latest = time.monotonic() + self.limits.request_seconds
        deadline = latest if request.deadline is None else min(request.deadline, latest)
        self._pending += 1
        try:
            return Answer(model, await self._batcher.answer(lane, images, deadline))
        except ServeError as failure:
            if failure.kind is Kind.FAILED:
                self._report(failure)
            raise
        finally:
            self._pending -= 1
            if not self._pending and self._idle is not None:
                self._idle.set()

    def replace(self, model: ServedModel) -> None:
        """Answer for ``model.name`` with this model from now on; the old one answers what it has accepted."""
        _, old = self._models[model.name]
        self._models[model.name] = (model, self._batcher.add(model))
        self._batcher.retire(old)

    async def drain(self) -> None:
        """Refuse new requests, and wait until each that was accepted has its answer."""
        self.draining = True
        self._idle = asyncio.Event()
        if self._pending:
            await self._idle.wait()

    def close(self, timeout: float = 1.0) -> bool:
        """End the threads and free the engines; what still waits is refused.

        Returns:
            Whether every thread ended within ``timeout`` seconds. The engines of others are left alone.
        """
        self.draining = True
        self._batcher.close()
        ended = self._batcher.join(timeout)
        if ended:
            for model, _ in self._models.values():
                model.close()
        return ended

    def _lane(self, name: str | None, version: str | None) -> tuple[ServedModel, Lane]:
        found = self._models.get(next(iter(self._models)) if name is None else name)
        if found is None:
            shown = str(name)[:100]
            near = did_you_mean(shown, self._models) or f"; there are: {', '.join(self._models)}"
            raise ServeError(Kind.NOT_FOUND, f"there is no model {shown!r}{near}")
        if version not in (None, "", found[0].version):
            raise ServeError(
                Kind.NOT_FOUND,
                f"the model {found[0].name!r} has the version {found[0].version}, not {str(version)[:100]!r}",
            )
        return found

    def _checked(self, images: Sequence[bytes] | NDArray[np.uint8], model: ServedModel) -> Sequence[Photo]:
        if not len(images):
            raise ServeError(Kind.INVALID, "the request holds no image")
        if len(images) > self.limits.request_images:
            raise ServeError(
                Kind.TOO_LARGE,
                f"the request holds {len(images)} images; at most {self.limits.request_images} are answered",
            )
        if isinstance(images, np.ndarray) and (
            images.dtype != np.uint8 or images.shape[1:] != (model.side, model.side, 3)
        ):
            raise ServeError(
                Kind.INVALID,
                f"pixels are uint8 [N, {model.side}, {model.side}, 3] for this model, "
                f"got {images.dtype} {list(images.shape)}",
            )
        return images  # type: ignore[return-value]  # an array is a sequence of arrays
