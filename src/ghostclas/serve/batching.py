"""A bounded queue of images, and the threads that decode them and run the network.

A thread that is free takes what is queued, at most as many images as the model runs at once; nobody waits for
a batch to fill. Images of one request may be answered in several batches, by several threads.

A request belongs to the event loop that asked. Threads only hand their results over, and the loop alone
completes a request, so none is completed twice. A request that was cancelled or is late frees its place at
once; a thread that finds it afterwards leaves it out.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ghostclas.errors import ImageError
from ghostclas.imaging import preprocess
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.spec import PredictionError, PreprocessSpec

Photo: TypeAlias = bytes | NDArray[np.uint8]
"""An encoded file, or pixels uint8 ``[side, side, 3]``."""

Row: TypeAlias = NDArray[np.float32] | PredictionError
"""The logits ``[C]`` of an image, or why it has none."""

_SMOOTHING = 0.1


class Network(Protocol):
    """What batching needs of a model; see ``ghostclas.serve.model.ServedModel``."""

    @property
    def side(self) -> int: ...  # noqa: D102

    @property
    def preprocess(self) -> PreprocessSpec: ...  # noqa: D102

    @property
    def batch(self) -> int: ...  # noqa: D102

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class BatchReport(NamedTuple):
    """What a thread did: seconds of the batch, and how long its first image had waited."""

    model: Network
    images: int
    waited: float
    decoding: float
    inference: float


class _Job:
    """One request: its images, and where its answer goes. The batcher's lock guards what threads read."""

    __slots__ = ("arrived", "deadline", "ended", "future", "images", "left", "loop", "rows", "waiting")

    def __init__(self, images: Sequence[Photo], deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self.images: Sequence[Photo] = images
        self.rows: list[Row | None] = [None] * len(images)
        self.left = self.waiting = len(images)
        self.deadline = deadline
        self.arrived = time.monotonic()
        self.ended = False
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()


class _Item(NamedTuple):
    job: _Job
    place: int
    photo: Photo


class _Outcome(NamedTuple):
    job: _Job
    place: int
    result: Row | ServeError


class Lane:
    """The queue of one model. A retired one takes nothing more and frees its model when it is done."""

    def __init__(self, model: Network) -> None:
        self.model = model
        self.queue: deque[tuple[_Job, int]] = deque()
        self.running = 0
        self.retired = False

    @property
    def done(self) -> bool:
        """Whether nobody needs the model any more."""
        return self.retired and not self.queue and not self.running


class Batcher:
    """The queue and the threads of all models of this process.

    Args:
        threads: how many decode and run at once.
        queue_images: images that may wait.
        queue_bytes: bytes that may wait.
        observe: called by the threads after each batch.
    """

    def __init__(
        self,
        *,
        threads: int,
        queue_images: int,
        queue_bytes: int,
        observe: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self._most_images = queue_images
        self._most_bytes = queue_bytes
        self._observe = observe
        self._changed = threading.Condition(threading.Lock())
        self._lanes: list[Lane] = []
        self._images = 0
        self._bytes = 0
        self._dropped = 0
        self._idle = 0
        self._closed = False
        self._seconds_per_image = 0.01
        self._began: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"ghostclas-serve-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many images wait for a thread."""
        return self._images

    @property
    def waiting_bytes(self) -> int:
        """How many bytes these images have."""
        return self._bytes

    @property
    def retry_after(self) -> float:
        """Seconds in which the threads answer what waits now, at least 1."""
        return max(1.0, math.ceil(self._images * self._seconds_per_image / len(self._threads)))

    def longest(self) -> float:
        """Return for how many seconds the oldest running batch has been computed; 0 where none is."""
        return time.monotonic() - min(list(self._began.values()), default=math.inf) if self._began else 0.0

    def add(self, model: Network) -> Lane:
        """Return the queue of a new model."""
        lane = Lane(model)
        with self._changed:
            self._lanes.append(lane)
        return lane

    def retire(self, lane: Lane) -> None:
        """Answer what waits in the lane, then free its model."""
        with self._changed:
            lane.retired = True
            done = self._remove_if_done(lane)
        if done:
            lane.model.close()

    async def answer(self, lane: Lane, images: Sequence[Photo], deadline: float) -> list[Row]:
        """Return the row of each image, in order.

        Args:
            lane: the model's queue.
            images: at least one.
            deadline: by ``time.monotonic``; the answer or the refusal comes by then.

        Raises:
            ServeError: FULL, LATE, DRAINING (the threads have ended) or FAILED.
        """
        loop = asyncio.get_running_loop()
        job = _Job(images, deadline, loop)
        if deadline <= job.arrived:
            raise _late()
        self._submit(lane, job)
        timer = loop.call_later(deadline - job.arrived, _expire, job)
        try:
            await job.future
        finally:
            timer.cancel()
            self._drop(lane, job)
        return [row for row in job.rows if row is not None]

    def close(self) -> None:
        """End the threads; what still waits is refused. A batch that runs is not waited for."""
        with self._changed:
            self._closed = True
            left = {job for lane in self._lanes for job, _ in lane.queue}
            for lane in self._lanes:
                lane.queue.clear()
            self._images = self._bytes = self._dropped = 0
            self._changed.notify_all()
        _hand_over([_Outcome(job, 0, _ended()) for job in left])

    def join(self, timeout: float) -> bool:
        """Wait for the threads after ``close``; return whether all have ended."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # ------------------------------------------------------------------ the loop's side

    def _submit(self, lane: Lane, job: _Job) -> None:
        count, size = len(job.images), sum(map(_size, job.images))
        with self._changed:
            if self._closed or lane.retired:
                raise _ended()
            # Whatever its size, a request finds room in an empty queue.
            if self._images and (
                self._images + count > self._most_images or self._bytes + size > self._most_bytes
            ):
                raise ServeError(
                    Kind.FULL,
                    f"{self._images} images wait already; try again later",
                    retry_after=self.retry_after,
                )
            lane.queue.extend((job, place) for place in range(count))
            self._images += count
            self._bytes += size
            self._changed.notify(count)

    def _drop(self, lane: Lane, job: _Job) -> None:
        """Take what a request still has in the queue out of the count, and let its images go."""
        with self._changed:
            if job.ended:
                return
            job.ended = True
            if not job.waiting or self._closed:
                return
            # Images are taken in order: the last ones wait.
            left = job.images[len(job.images) - job.waiting :]
            self._images -= job.waiting
            self._bytes -= sum(map(_size, left))
            self._dropped += job.waiting
            job.images = ()
            if self._dropped > self._most_images:
                # Threads that are all busy have not come to them.
                for other in self._lanes:
                    self._purge(other)
            done = self._remove_if_done(lane)
        if done:
            lane.model.close()

    # ------------------------------------------------------------------ the threads' side

    def _work(self, number: int) -> None:
        while (taken := self._take(number)) is not None:
            lane, items = taken
            try:
                outcomes = self._compute(lane.model, items)
            except BaseException as error:  # whatever it is, the thread goes on and nobody waits for ever
                outcomes = [_Outcome(item.job, item.place, _failed(error)) for item in items]
            with self._changed:
                self._began.pop(number, None)
                lane.running -= 1
                done = self._remove_if_done(lane)
            if done:
                lane.model.close()
            _hand_over(outcomes)
            # Nothing of this batch may stay in memory while the thread waits for the next.
            del taken, items, outcomes

    def _take(self, number: int) -> tuple[Lane, list[_Item]] | None:
        """Wait for images and return those of the next batch; ``None`` ends the thread."""
        with self._changed:
            while True:
                lane = self._oldest()
                if lane is not None:
                    break
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            # The other threads that are free shall have their part of what waits.
            share = math.ceil(self._images / (self._idle + 1))
            items: list[_Item] = []
            while lane.queue and len(items) < max(1, min(share, lane.model.batch)):
                job, place = lane.queue.popleft()
                if job.ended:
                    self._dropped -= 1
                    continue
                photo = job.images[place]
                job.waiting -= 1
                self._images -= 1
                self._bytes -= _size(photo)
                items.append(_Item(job, place, photo))
            lane.running += 1
            self._began[number] = time.monotonic()
        return lane, items

    def _oldest(self) -> Lane | None:
        """Return the lane whose first image has waited longest; requests that ended are left out."""
        oldest: Lane | None = None
        for lane in self._lanes:
            while lane.queue and lane.queue[0][0].ended:
                lane.queue.popleft()
                self._dropped -= 1
            if lane.queue and (oldest is None or lane.queue[0][0].arrived < oldest.queue[0][0].arrived):
                oldest = lane
        return oldest

    def _purge(self, lane: Lane) -> None:
        """Leave out the requests that have ended."""
        left = deque(item for item in lane.queue if not item[0].ended)
        self._dropped -= len(lane.queue) - len(left)
        lane.queue = left

    def _remove_if_done(self, lane: Lane) -> bool:
        if lane.retired and not lane.running:
            self._purge(lane)
        if lane.done and lane in self._lanes:
            self._lanes.remove(lane)
            return True
        return False

    def _compute(self, model: Network, items: Sequence[_Item]) -> list[_Outcome]:
        """Decode and run a batch; requests that have ended meanwhile have no outcome."""
        began = time.monotonic()
        pixels = np.empty((len(items), model.side, model.side, 3), np.uint8)
        outcomes: list[_Outcome] = []
        good: list[_Item] = []
        for item in items:
            if item.job.ended or item.job.deadline <= began:
                continue
            try:
                _prepare(item.photo, model.preprocess, pixels[len(good)])
                good.append(item)
            except ImageError as error:
                outcomes.append(_Outcome(item.job, item.place, _row_of(error)))
            except Exception as error:  # imaging raises nothing else; if it does, this image alone fails
                outcomes.append(_Outcome(item.job, item.place, _failed(error)))
        decoded = time.monotonic()
        if good:
            rows = _run(model, pixels[: len(good)])
            outcomes += [_Outcome(item.job, item.place, row) for item, row in zip(good, rows, strict=True)]
        ended = time.monotonic()
        self._seconds_per_image += _SMOOTHING * ((ended - began) / len(items) - self._seconds_per_image)
        self._observe(
            BatchReport(model, len(good), began - items[0].job.arrived, decoded - began, ended - decoded)
        )
        return outcomes


def _prepare(photo: Photo, spec: PreprocessSpec, out: NDArray[np.uint8]) -> None:
    if isinstance(photo, np.ndarray):
        out[...] = photo
    else:
        preprocess(photo, spec, out=out)


def _run(model: Network, pixels: NDArray[np.uint8]) -> list[Row | ServeError]:
    """Return the logits of each image. Where a batch fails, each image is tried alone, once."""
    try:
        return _checked(model.run(pixels))
    except Exception as error:
        if len(pixels) == 1:
            return [_failed(error)]
    rows: list[Row | ServeError] = []
    for one in range(len(pixels)):
        try:
            rows += _checked(model.run(pixels[one : one + 1]))
        except Exception as error:  # of this image alone
            rows.append(_failed(error))
    return rows


def _checked(logits: NDArray[np.float32]) -> list[Row | ServeError]:
    """Return the rows; those that no score can be made of are failures."""
    right = np.isfinite(logits.max(axis=1))
    return [
        row if good else ServeError(Kind.FAILED, "the network's output for this image is not finite")
        for row, good in zip(logits, right, strict=True)
    ]


def _hand_over(outcomes: Sequence[_Outcome]) -> None:
    loops = {outcome.job.loop for outcome in outcomes}
    for loop in loops:
        # A loop that has ended has nobody who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver, [outcome for outcome in outcomes if outcome.job.loop is loop])


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    """Complete the requests whose last row is there; runs in their loop."""
    for job, place, result in outcomes:
        if job.future.done():
            continue
        if isinstance(result, ServeError):
            job.future.set_exception(result)
            continue
        job.rows[place] = result
        job.left -= 1
        if not job.left:
            job.future.set_result(None)


def _expire(job: _Job) -> None:
    if not job.future.done():
        job.future.set_exception(_late())


def _size(photo: Photo) -> int:
    return photo.nbytes if isinstance(photo, np.ndarray) else len(photo)


def _row_of(error: ImageError) -> PredictionError:
    return PredictionError(code=error.code, message=str(error))


def _late() -> ServeError:
    return ServeError(Kind.LATE, "the request's time is over")


def _ended() -> ServeError:
    return ServeError(Kind.DRAINING, "the server is shutting down", retry_after=1.0)


def _failed(error: BaseException) -> ServeError:
    # The cause goes to the log: it may hold paths of this machine.
    failure = ServeError(Kind.FAILED, "the network could not be run on this image")
    failure.__cause__ = error
    return failure
