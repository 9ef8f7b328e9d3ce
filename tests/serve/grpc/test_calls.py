"""One gRPC call: every kind of failure has its status, and a bug keeps the server's secrets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from ghostclas.serve.access_log import Record
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.grpc.calls import STATUS, Call, Site, parsed, unary
from ghostclas.serve.grpc.messages import inference
from ghostclas.serve.limits import Limits
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service
from tests.serve.served import serving


class Context:
    """What a handler sees of gRPC's context."""

    def __init__(self, remaining: float | None = None, **metadata: Any) -> None:
        self.metadata = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
        self.remaining = remaining
        self.aborted: tuple[grpc.StatusCode, str, Any] | None = None
        self.named = "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self.metadata

    def time_remaining(self) -> float | None:
        return self.remaining

    def peer(self) -> str:
        return self.named

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing: Any = ()) -> None:
        self.aborted = (code, details, trailing)
        raise grpc.RpcError


def site_of(service: Service, records: list[Record] | None = None, token: str | None = None) -> Site:
    return Site(service, Limits(), Security(token), (records if records is not None else []).append)


def run(answer: Awaitable[bytes]) -> bytes:
    async def awaited() -> bytes:
        return await answer

    return asyncio.run(awaited())


def test_every_kind_has_a_status() -> None:
    assert STATUS.keys() == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_designed_error_is_its_status_and_is_recorded(kind: Kind) -> None:
    records: list[Record] = []
    context = Context()

    async def fail(call: Call, data: bytes) -> bytes:
        raise ServeError(kind, "why", retry_after=0.25)

    with serving() as service, pytest.raises(grpc.RpcError):
        run(unary(site_of(service, records), "m", fail)(b"12", context))
    assert context.aborted == (STATUS[kind], "why", (("grpc-retry-pushback-ms", "250"),))
    (record,) = records
    assert (record.method, record.status, record.kind, record.received) == (
        "m",
        STATUS[kind].name,
        kind.value,
        2,
    )


def test_a_bug_is_internal_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    context = Context()

    async def fail(call: Call, data: bytes) -> bytes:
        raise RuntimeError("a secret")

    with serving() as service, caplog.at_level(logging.ERROR), pytest.raises(grpc.RpcError):
        run(unary(site_of(service), "m", fail)(b"", context))
    assert context.aborted is not None
    assert context.aborted[0] is grpc.StatusCode.INTERNAL
    assert "secret" not in context.aborted[1]
    assert "a secret" in caplog.text


def test_the_deadline_is_the_sooner_of_the_clients_and_the_servers() -> None:
    with serving() as service:
        now = time.monotonic()
        limit = Limits().request_seconds
        assert Call(site_of(service), Context(1.0)).deadline == pytest.approx(now + 1, abs=0.5)
        assert Call(site_of(service), Context(1e9)).deadline == pytest.approx(now + limit, abs=0.5)
        assert Call(site_of(service), Context()).deadline == pytest.approx(now + limit, abs=0.5)


def test_ids_and_tokens_from_the_metadata() -> None:
    with serving() as service:
        call = Call(site_of(service, token="0123456789abcdef"), Context(x_request_id="mine"))
        assert call.request_id == "mine"
        with pytest.raises(ServeError, match="authorization: Bearer TOKEN"):
            call.check_token()
        # Metadata may be bytes, too.
        with pytest.raises(ServeError):
            Call(site_of(service, token="0123456789abcdef"), Context(authorization=b"\xff")).check_token()
        good = Context(authorization="bearer 0123456789abcdef")
        Call(site_of(service, token="0123456789abcdef"), good).check_token()


def test_bytes_that_are_no_message() -> None:
    with pytest.raises(ServeError, match=r"the message is no inference\.ModelReadyRequest"):
        parsed(inference["ModelReadyRequest"], b"\x0a\x05x")


@pytest.mark.parametrize(
    ("named", "address"),
    [("ipv4:10.0.0.7:5000", "10.0.0.7"), ("ipv6:%5B::1%5D:5000", "::1"), ("unix:", "unix:")],
)
def test_the_log_names_the_clients_address(named: str, address: str) -> None:
    records: list[Record] = []
    context = Context()
    context.named = named

    async def answer(call: Call, data: bytes) -> bytes:
        return data

    with serving() as service:
        assert run(unary(site_of(service, records), "m", answer)(b"12", context)) == b"12"
    assert [record.peer for record in records] == [address]
