"""The queue and its threads, with a real engine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostclas.imaging import preprocess
from ghostclas.serve.batching import Batcher, BatchReport, Lane, Photo, Row
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.model import ServedModel
from ghostclas.spec import PredictionError
from tests.serve.served import SECONDS, Failing, Gate, Shared, builtin_engine, builtin_model, jpeg


@contextmanager
def batching(model: ServedModel, threads: int = 1, **options: Any) -> Iterator[tuple[Batcher, Lane]]:
    batcher = Batcher(threads=threads, **{"queue_images": 64, "queue_bytes": 2**20, **options})
    try:
        yield batcher, batcher.add(model)
    finally:
        if isinstance(model.runtime, Gate):
            model.runtime.open.set()
        batcher.close()
        assert batcher.join(SECONDS)


def later() -> float:
    return time.monotonic() + SECONDS


def pixels(seed: int) -> NDArray[np.uint8]:
    return preprocess(jpeg(seed), builtin_model().preprocess)


def wanted(seed: int) -> NDArray[np.float32]:
    return builtin_engine().run(pixels(seed)[None])[0]


def assert_row(row: Row, seed: int) -> None:
    assert isinstance(row, np.ndarray)
    np.testing.assert_allclose(row, wanted(seed), atol=1e-4)


async def failure(waiting: asyncio.Future[Any] | asyncio.Task[Any]) -> ServeError:
    with pytest.raises(ServeError) as caught:
        await asyncio.wait_for(waiting, SECONDS)
    return caught.value


async def entered(gate: Gate) -> None:
    await asyncio.to_thread(gate.wait)


def ask(
    batcher: Batcher, lane: Lane, *images: Photo, deadline: float | None = None
) -> asyncio.Task[list[Row]]:
    return asyncio.create_task(batcher.answer(lane, images, deadline or later()))


async def queued(batcher: Batcher, count: int) -> None:
    """Let tasks that were just made run up to the queue."""
    while batcher.waiting != count:
        await asyncio.sleep(0)


def test_files_and_pixels_get_their_own_rows_in_order() -> None:
    async def check(batcher: Batcher, lane: Lane) -> None:
        rows = await batcher.answer(lane, [jpeg(0), jpeg(1), b"no image", jpeg(2)], later())
        for index, seed in ((0, 0), (1, 1), (3, 2)):
            assert_row(rows[index], seed)
        assert isinstance(rows[2], PredictionError)
        assert rows[2].code == "not_an_image"
        (row,) = await batcher.answer(lane, pixels(3)[None], later())  # type: ignore[arg-type]
        assert_row(row, 3)

    with batching(builtin_model(batch=4)) as (batcher, lane):
        asyncio.run(check(batcher, lane))


@pytest.mark.parametrize("batch", [1, 4])
def test_sixteen_photos_at_once_each_get_their_own_answer(batch: int) -> None:
    async def check(batcher: Batcher, lane: Lane) -> None:
        tasks = [ask(batcher, lane, jpeg(seed)) for seed in range(16)]
        for seed, (row,) in enumerate(await asyncio.gather(*tasks)):
            assert_row(row, seed)

    with batching(builtin_model(batch=batch), threads=2) as (batcher, lane):
        asyncio.run(check(batcher, lane))


def test_a_free_thread_takes_what_is_queued_up_to_the_models_batch_and_waits_for_no_more() -> None:
    gate = Gate()
    reports: list[BatchReport] = []

    async def check(batcher: Batcher, lane: Lane) -> None:
        first = ask(batcher, lane, jpeg(0))
        await entered(gate)
        others = [ask(batcher, lane, jpeg(seed)) for seed in range(1, 8)]
        await queued(batcher, 7)
        gate.open.set()
        await asyncio.gather(first, *others)

    with batching(builtin_model(engine=gate, batch=4), observe=reports.append) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    assert gate.sizes == [1, 4, 3]
    assert [report.images for report in reports] == [1, 4, 3]
    assert all(min(report[2:]) >= 0 for report in reports)


def test_free_threads_share_what_waits() -> None:
    gate = Gate()

    async def check(batcher: Batcher, lane: Lane) -> None:
        task = ask(batcher, lane, *map(jpeg, range(4)))
        await entered(gate)
        await entered(gate)
        gate.open.set()
        await task

    with batching(builtin_model(engine=gate, batch=8), threads=2) as (batcher, lane):
        # Both threads wait before the images come.
        while batcher._idle < 2:
            time.sleep(0)
        asyncio.run(check(batcher, lane))
    assert sorted(gate.sizes) == [2, 2]


def test_a_full_queue_refuses_at_once_by_images_and_by_bytes() -> None:
    gate = Gate()

    async def check(batcher: Batcher, lane: Lane) -> None:
        running = ask(batcher, lane, jpeg(0))
        await entered(gate)
        one = ask(batcher, lane, jpeg(1), jpeg(2))
        await queued(batcher, 2)
        for images in ([jpeg(3)], [bytes(len(jpeg(1)))] * 2):
            full = await failure(ask(batcher, lane, *images))
            assert full.kind is Kind.FULL
            assert full.retry_after is not None
            assert full.retry_after >= 1
        assert (batcher.waiting, batcher.waiting_bytes) == (2, len(jpeg(1)) + len(jpeg(2)))
        gate.open.set()
        await asyncio.gather(running, one)
        assert (batcher.waiting, batcher.waiting_bytes) == (0, 0)

    with batching(builtin_model(engine=gate), queue_images=2) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    gate = Gate()
    size = len(jpeg(1)) + len(jpeg(2))
    with batching(builtin_model(engine=gate), queue_bytes=size) as (batcher, lane):
        asyncio.run(check(batcher, lane))


def test_a_request_larger_than_the_queue_is_answered_when_nothing_waits() -> None:
    async def check(batcher: Batcher, lane: Lane) -> None:
        rows = await batcher.answer(lane, [jpeg(0)] * 3, later())
        assert len(rows) == 3

    with batching(builtin_model(), queue_images=1, queue_bytes=1) as (batcher, lane):
        asyncio.run(check(batcher, lane))


def test_a_late_request_is_refused_on_time_while_a_batch_still_runs() -> None:
    gate = Gate()

    async def check(batcher: Batcher, lane: Lane) -> None:
        running = ask(batcher, lane, jpeg(0), deadline=time.monotonic() + 0.05)
        await entered(gate)
        waiting = ask(batcher, lane, jpeg(1), deadline=time.monotonic() + 0.05)
        over = await failure(ask(batcher, lane, jpeg(2), deadline=time.monotonic() - 1))
        for late in (over, await failure(running), await failure(waiting)):
            assert late.kind is Kind.LATE
        # The gate is still shut: nobody waited for the batch.
        assert not gate.open.is_set()
        assert batcher.waiting == 0
        gate.open.set()
        (row,) = await batcher.answer(lane, [jpeg(3)], later())
        assert_row(row, 3)

    with batching(builtin_model(engine=gate)) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    # The one that was late in the queue never came to the network.
    assert gate.sizes == [1, 1]


def test_twenty_five_tiny_deadlines_harm_none_of_twenty_five_normal_requests() -> None:
    async def check(batcher: Batcher, lane: Lane) -> None:
        tiny = [ask(batcher, lane, jpeg(0), deadline=time.monotonic() + 1e-4) for _ in range(25)]
        normal = [ask(batcher, lane, jpeg(seed)) for seed in range(25)]
        for outcome in await asyncio.gather(*tiny, return_exceptions=True):
            assert isinstance(outcome, list) or (
                isinstance(outcome, ServeError) and outcome.kind is Kind.LATE
            )
        for seed, (row,) in enumerate(await asyncio.gather(*normal)):
            assert_row(row, seed)

    with batching(builtin_model(batch=4)) as (batcher, lane):
        asyncio.run(check(batcher, lane))


def test_two_hundred_cancelled_requests_cost_nothing_and_leave_nothing() -> None:
    gate = Gate()

    async def check(batcher: Batcher, lane: Lane) -> None:
        running = ask(batcher, lane, jpeg(0))
        await entered(gate)
        for _ in range(10):
            tasks = [ask(batcher, lane, jpeg(1)) for _ in range(20)]
            await queued(batcher, 20)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert (batcher.waiting, batcher.waiting_bytes) == (0, 0)
        # What is left of them takes no more room than the queue may have.
        assert len(lane.queue) <= 32 + 20
        gate.open.set()
        await running
        (row,) = await batcher.answer(lane, [jpeg(2)], later())
        assert_row(row, 2)

    with batching(builtin_model(engine=gate), queue_images=32) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    assert gate.sizes == [1, 1]


def test_a_failed_batch_is_tried_one_by_one_once_so_that_a_poisoned_image_fails_alone() -> None:
    poison = pixels(2)

    def fault(images: NDArray[np.uint8]) -> BaseException | None:
        return RuntimeError("poisoned") if any((image == poison).all() for image in images) else None

    engine = Failing(fault)

    async def check(batcher: Batcher, lane: Lane) -> None:
        tasks = [ask(batcher, lane, jpeg(seed)) for seed in range(4)]
        await asyncio.wait(tasks)
        for seed in (0, 1, 3):
            (row,) = tasks[seed].result()
            assert_row(row, seed)
        failed = await failure(tasks[2])
        assert failed.kind is Kind.FAILED
        assert "poisoned" not in failed.message
        assert str(failed.__cause__) == "poisoned"

    with batching(builtin_model(engine=engine, batch=4)) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    assert engine.sizes.count(1) <= 4 + 1
    assert len(engine.sizes) <= 6


@pytest.mark.parametrize("error", [RuntimeError("once"), MemoryError(), SystemExit(1)])
def test_after_an_exception_in_the_thread_the_next_answer_is_right(error: BaseException) -> None:
    faults = [error]
    engine = Failing(lambda images: faults.pop() if faults else None)

    async def check(batcher: Batcher, lane: Lane) -> None:
        assert (await failure(ask(batcher, lane, jpeg(0)))).kind is Kind.FAILED
        (row,) = await batcher.answer(lane, [jpeg(1)], later())
        assert_row(row, 1)

    with batching(builtin_model(engine=engine)) as (batcher, lane):
        asyncio.run(check(batcher, lane))


def test_logits_that_no_score_can_be_made_of_fail_alone() -> None:
    class Broken(Shared):
        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            rows = super().run(images)
            rows[0, 3] = np.nan
            return rows

    async def check(batcher: Batcher, lane: Lane) -> None:
        assert (await failure(ask(batcher, lane, jpeg(0)))).kind is Kind.FAILED

    with batching(builtin_model(engine=Broken(builtin_engine()))) as (batcher, lane):
        asyncio.run(check(batcher, lane))


def test_a_retired_model_answers_what_waits_for_it_and_is_freed_then() -> None:
    gate = Gate()

    async def check(batcher: Batcher, lane: Lane) -> None:
        tasks = [ask(batcher, lane, jpeg(seed)) for seed in range(3)]
        await entered(gate)
        batcher.retire(lane)
        assert not gate.closed
        refused = await failure(ask(batcher, lane, jpeg(0)))
        assert refused.kind is Kind.DRAINING
        gate.open.set()
        for seed, (row,) in enumerate(await asyncio.gather(*tasks)):
            assert_row(row, seed)

    with batching(builtin_model(engine=gate)) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    assert gate.closed


def test_a_retired_model_is_freed_when_nobody_wants_its_answers_any_more() -> None:
    gate, waited_for = Gate(), Shared(builtin_engine())

    async def check(batcher: Batcher, lane: Lane) -> None:
        running = ask(batcher, lane, jpeg(0))
        await entered(gate)
        other = batcher.add(builtin_model("other", engine=waited_for))
        tasks = [ask(batcher, other, jpeg(seed)) for seed in range(3)]
        await queued(batcher, 3)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        batcher.retire(other)
        assert not waited_for.closed
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks)
        assert waited_for.closed
        gate.open.set()
        await running

    with batching(builtin_model(engine=gate)) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    assert waited_for.sizes == []


def test_closing_refuses_what_waits_and_a_batch_that_hangs_holds_nobody() -> None:
    gate = Gate()

    async def check(batcher: Batcher, lane: Lane) -> None:
        running = ask(batcher, lane, jpeg(0), deadline=time.monotonic() + 0.2)
        await entered(gate)
        waiting = ask(batcher, lane, jpeg(1))
        await queued(batcher, 1)
        assert batcher.longest() > 0
        batcher.close()
        assert (await failure(waiting)).kind is Kind.DRAINING
        assert not batcher.join(0)
        assert (await failure(running)).kind is Kind.LATE

    with batching(builtin_model(engine=gate)) as (batcher, lane):
        assert batcher.longest() == 0
        asyncio.run(check(batcher, lane))


def test_several_models_take_turns_by_the_time_of_arrival() -> None:
    order: list[str] = []
    gate = Gate()

    class Noted(Shared):
        def __init__(self, name: str) -> None:
            super().__init__(builtin_engine())
            self.called = name

        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            order.append(self.called)
            return super().run(images)

    async def check(batcher: Batcher, lane: Lane) -> None:
        a, b = (batcher.add(builtin_model(name, engine=Noted(name), batch=4)) for name in "ab")
        first = ask(batcher, lane, jpeg(0))
        await entered(gate)
        tasks = []
        for number, other in enumerate((a, b, b, a)):
            tasks.append(ask(batcher, other, jpeg(0)))
            await queued(batcher, number + 1)
        gate.open.set()
        await asyncio.gather(first, *tasks)

    with batching(builtin_model(engine=gate)) as (batcher, lane):
        asyncio.run(check(batcher, lane))
    # Batches are of one model each.
    assert order == ["a", "b"]


def test_requests_of_several_event_loops_are_answered_in_their_own() -> None:
    found: list[tuple[int, Sequence[Row]]] = []

    with batching(builtin_model(batch=4)) as (batcher, lane):

        def ask_in_a_loop(seed: int) -> None:
            found.append((seed, asyncio.run(batcher.answer(lane, [jpeg(seed)], later()))))

        threads = [threading.Thread(target=ask_in_a_loop, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, (row,) in found:
        assert_row(row, seed)
    assert len(found) == 4
