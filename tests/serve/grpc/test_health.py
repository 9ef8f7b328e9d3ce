"""gRPC's health service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ghostclas.serve.grpc.messages import HEALTH, INFERENCE, health
from ghostclas.serve.grpc.server import start
from tests.serve.grpc.stub import Stub
from tests.serve.hosting import HostedProtocol, hosted
from tests.serve.served import SECONDS, serving

UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


@pytest.fixture
def server() -> Iterator[HostedProtocol]:
    with serving() as service, hosted(start, service) as host:
        yield host


@pytest.fixture
def stub(server: HostedProtocol) -> Iterator[Stub]:
    with Stub(server.port) as stub:
        yield stub


def status(data: bytes) -> int:
    return int(health["HealthCheckResponse"].FromString(data).status)


def asked(name: str) -> bytes:
    return bytes(health["HealthCheckRequest"](service=name).SerializeToString())


def test_the_server_and_its_inference_have_a_health(server: HostedProtocol, stub: Stub) -> None:
    for name in ("", INFERENCE):
        assert status(stub.raw(f"{HEALTH}/Check", asked(name))) == SERVING
    every = health["HealthListResponse"].FromString(stub.raw(f"{HEALTH}/List", b""))
    assert {name: one.status for name, one in every.statuses.items()} == {"": SERVING, INFERENCE: SERVING}
    server.service.draining = True
    assert status(stub.raw(f"{HEALTH}/Check", asked(INFERENCE))) == NOT_SERVING


def test_another_service_has_none(stub: Stub) -> None:
    assert stub.refused(lambda: stub.raw(f"{HEALTH}/Check", asked("x")))[0] == "NOT_FOUND"
    assert stub.refused(lambda: stub.raw(f"{HEALTH}/Check", b"\xff"))[0] == "INVALID_ARGUMENT"


def test_who_watches_is_told_of_the_change_and_let_go(server: HostedProtocol, stub: Stub) -> None:
    watching = stub.channel.unary_stream(f"/{HEALTH}/Watch")(asked(""), timeout=SECONDS)
    assert status(next(watching)) == SERVING
    server.service.draining = True
    assert [status(data) for data in watching] == [NOT_SERVING]


def test_who_watches_an_unknown_service_waits_for_it(stub: Stub) -> None:
    watching = stub.channel.unary_stream(f"/{HEALTH}/Watch")(asked("x"), timeout=SECONDS)
    assert status(next(watching)) == SERVICE_UNKNOWN
    watching.cancel()


def test_a_drain_does_not_wait_for_who_watches(server: HostedProtocol, stub: Stub) -> None:
    watching = stub.channel.unary_stream(f"/{HEALTH}/Watch")(asked(""), timeout=SECONDS)
    assert status(next(watching)) == SERVING
    server.service.draining = True
    server.run(server.running.drain(SECONDS))
    assert [status(data) for data in watching] == [NOT_SERVING]
