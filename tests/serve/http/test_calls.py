"""A request as the handlers see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.bodies import BodyBudget, DisconnectedError, Lease
from ghostclas.serve.http.calls import Call, Site
from ghostclas.serve.limits import Limits
from tests.serve.served import Gate, builtin_model, jpeg, serving


def make_call(site: Any, messages: Iterable[MutableMapping[str, Any]] = (), **scope: Any) -> Call:
    left = iter(messages)

    async def receive() -> MutableMapping[str, Any]:
        message = next(left, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    budget = BodyBudget(1000)
    return Call(site, {"headers": [], "path": "/a", **scope}, receive, Lease(budget))


def test_the_query_is_read_strictly() -> None:
    call = make_call(None, query_string=b"top=3&model=a%20b")
    assert call.query(("top", "model")) == {"top": "3", "model": "a b"}
    assert make_call(None).query(()) == {}
    for wrong in (b"top", b"top=%FF", b"top=1&top=1", b"other=1", b"\xff=1"):
        with pytest.raises(ServeError) as caught:
            make_call(None, query_string=wrong).query(("top",))
        assert caught.value.kind is Kind.INVALID


def test_headers_say_whether_there_is_a_body() -> None:
    assert not make_call(None).body_is_unread
    assert not make_call(None, headers=[(b"content-length", b"0")]).body_is_unread
    assert make_call(None, headers=[(b"content-length", b"1")]).body_is_unread
    assert make_call(None, headers=[(b"transfer-encoding", b"chunked")]).body_is_unread
    typed = make_call(None, headers=[(b"content-type", b" Image/JPEG ; a=b")])
    assert (typed.content_type, typed.header(b"content-type")) == ("image/jpeg", " Image/JPEG ; a=b")


def test_the_path_is_the_one_that_was_sent() -> None:
    assert make_call(None, raw_path=b"/a%2Fb").path == "/a%2Fb"
    assert make_call(None, path="/a").path == "/a"


def test_a_client_that_leaves_cancels_what_it_asked_for() -> None:
    gate = Gate()
    with serving(builtin_model(engine=gate)) as service:
        site = Site(service, Limits(), BodyBudget(1000))

        async def leave() -> None:
            first = make_call(site, [{"type": "http.disconnect"}])
            with pytest.raises(DisconnectedError):
                await first.answer([jpeg()] * 3, None, None, None)
            assert (first.images, first.answered) == (3, None)
            assert service.pending == 1
            await asyncio.sleep(0)
            assert (service.pending, service.waiting) == (0, 0)

        asyncio.run(leave())


def test_a_body_is_read_once_and_what_is_left_of_a_refused_one_is_dropped() -> None:
    with serving() as service:
        site = Site(service, Limits(), BodyBudget(1000))
        pieces: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": b"ab", "more_body": True},
            {"type": "http.request", "body": b"c", "more_body": False},
        ]
        length = [(b"content-length", b"3")]
        call = make_call(site, pieces, headers=length)
        assert asyncio.run(call.body()) == b"abc"
        assert (call.received, call.body_is_unread) == (3, False)
        dropped = make_call(site, pieces, headers=length)
        asyncio.run(dropped.drop_body(60))
        stalled = make_call(site, pieces[:1], headers=length)
        asyncio.run(stalled.drop_body(0.01))
