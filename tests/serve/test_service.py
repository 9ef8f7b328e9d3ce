"""The service: models by name, validated input in, logits or a designed error out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ghostclas.errors import UsageError
from ghostclas.imaging import preprocess
from ghostclas.prediction import Classifier
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.service import Request, Service
from tests.serve.served import (
    SECONDS,
    Gate,
    Shared,
    builtin_bundle,
    builtin_engine,
    builtin_model,
    jpeg,
    serving,
)


def refused(answer: Coroutine[Any, Any, object]) -> ServeError:
    with pytest.raises(ServeError) as caught:
        asyncio.run(answer)
    return caught.value


async def until_waiting(service: Service, count: int) -> None:
    while service.waiting != count:
        await asyncio.sleep(0)


def test_the_service_answers_as_the_classifier_does() -> None:
    images = [jpeg(0), b"no image", jpeg(1)]
    with serving() as service:
        answer = asyncio.run(service.answer(Request(images)))
    assert answer.model is service.model()
    predictions = answer.predictions(top=3)
    expected = Classifier(builtin_bundle(), Shared(builtin_engine())).predict(images, top=3)
    assert predictions[1] == expected[1]
    for index in (0, 2):
        assert [label.label for label in predictions[index].top] == [
            label.label for label in expected[index].top
        ]
        assert predictions[index].score == pytest.approx(expected[index].score, abs=1e-5)
    assert answer.first_error() == (1, expected[1].error)


def test_a_photo_that_the_model_does_not_know_is_unknown() -> None:
    known = builtin_model()
    strict = known.postprocess.model_copy(update={"unknown_below": 0.999})
    with serving(replace(known, name="strict", postprocess=strict), known) as service:
        answers = [
            asyncio.run(service.answer(Request([jpeg()], model=name))) for name in ("strict", known.name)
        ]
    assert [answer.predictions()[0].unknown for answer in answers] == [True, False]


def test_an_answer_without_any_logits_has_predictions_too() -> None:
    with serving() as service:
        answer = asyncio.run(service.answer(Request([b"", b"x"])))
    assert [prediction.error is not None for prediction in answer.predictions()] == [True, True]
    with pytest.raises(UsageError):
        answer.predictions(top=0)


def test_models_are_found_by_name_and_version() -> None:
    one, two = builtin_model("one"), builtin_model("two")
    with serving(one, two) as service:
        assert service.names == ("one", "two")
        assert service.model() is one
        assert service.model("two", two.version) is two
        assert asyncio.run(service.answer(Request([jpeg()], model="two"))).model is two
        missing = refused(service.answer(Request([jpeg()], model="tow")))
        assert (missing.kind, "did you mean 'two'" in missing.message) == (Kind.NOT_FOUND, True)
        old = refused(service.answer(Request([jpeg()], version="0")))
        assert (old.kind, one.version in old.message) == (Kind.NOT_FOUND, True)


def test_what_no_model_could_answer_is_refused_before_it_is_queued() -> None:
    side = builtin_model().side
    wrong = [np.zeros((1, side, side, 4), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), np.zeros(3, np.uint8)]
    with serving(request_images=4) as service:
        assert refused(service.answer(Request([]))).kind is Kind.INVALID
        assert refused(service.answer(Request(np.zeros((0, side, side, 3), np.uint8)))).kind is Kind.INVALID
        for pixels in wrong:
            assert refused(service.answer(Request(pixels))).kind is Kind.INVALID
        floats = np.zeros((1, side, side, 3), np.float32)
        assert refused(service.answer(Request(floats))).kind is Kind.INVALID  # type: ignore[arg-type]
        too_many = refused(service.answer(Request([jpeg()] * 5)))
        assert (too_many.kind, "at most 4" in too_many.message) == (Kind.TOO_LARGE, True)
        assert service.waiting == 0


def test_pixels_answer_as_the_file_that_they_come_from() -> None:
    pixels = preprocess(jpeg(0), builtin_bundle().preprocess)[None]
    with serving() as service:
        of_pixels = asyncio.run(service.answer(Request(pixels))).rows[0]
        of_file = asyncio.run(service.answer(Request([jpeg(0)]))).rows[0]
    np.testing.assert_array_equal(np.asarray(of_pixels), np.asarray(of_file))


def test_a_request_without_a_deadline_gets_the_servers_and_none_gets_more() -> None:
    gate = Gate()
    with serving(builtin_model(engine=gate), request_seconds=0.05) as service:
        assert refused(service.answer(Request([jpeg()]))).kind is Kind.LATE
        far = time.monotonic() + SECONDS
        assert refused(service.answer(Request([jpeg()], deadline=far))).kind is Kind.LATE


def test_draining_answers_what_was_accepted_and_refuses_the_rest() -> None:
    gate = Gate()

    async def check(service: Service) -> None:
        accepted = [asyncio.create_task(service.answer(Request([jpeg(seed)]))) for seed in range(3)]
        await asyncio.to_thread(gate.wait)
        await until_waiting(service, 2)
        assert (service.ready, service.pending) == (True, 3)
        draining = asyncio.create_task(service.drain())
        await asyncio.sleep(0)
        assert (service.ready, service.draining) == (False, True)
        with pytest.raises(ServeError) as caught:
            await service.answer(Request([jpeg()]))
        assert caught.value.kind is Kind.DRAINING
        assert caught.value.retry_after
        assert not draining.done()
        gate.open.set()
        await draining
        # Their answers are there, whoever looks at them first.
        assert all(task.done() for task in (await asyncio.wait(accepted))[0])
        assert service.pending == 0
        await service.drain()

    with serving(builtin_model(engine=gate)) as service:
        asyncio.run(check(service))


def test_a_replaced_model_answers_what_it_has_accepted_and_the_new_one_the_rest() -> None:
    gate = Gate()
    old, new = builtin_model(engine=gate), builtin_model()

    async def check(service: Service) -> None:
        accepted = [asyncio.create_task(service.answer(Request([jpeg(seed)]))) for seed in range(2)]
        await asyncio.to_thread(gate.wait)
        await until_waiting(service, 1)
        service.replace(new)
        assert service.model() is new
        later = asyncio.create_task(service.answer(Request([jpeg(9)])))
        await until_waiting(service, 2)
        gate.open.set()
        assert [(await task).model for task in (*accepted, later)] == [old, old, new]

    with serving(old) as service:
        asyncio.run(check(service))
        assert gate.closed
        assert isinstance(new.runtime, Shared)
        assert not new.runtime.closed
    assert new.runtime.closed


def test_a_batch_that_hangs_makes_the_service_unready() -> None:
    gate = Gate()

    async def check(service: Service) -> None:
        task = asyncio.create_task(service.answer(Request([jpeg()])))
        await asyncio.to_thread(gate.wait)
        while not service.hung:
            await asyncio.sleep(0.01)
        assert not service.ready
        gate.open.set()
        await task
        assert (service.hung, service.ready) == (False, True)

    with serving(builtin_model(engine=gate), hang_seconds=0.01) as service:
        asyncio.run(check(service))
