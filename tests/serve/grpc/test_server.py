"""The gRPC server: right answers, exact statuses whatever comes, and other clients unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostclas.serve.grpc.messages import HEALTH, INFERENCE, health, inference
from ghostclas.serve.grpc.server import start
from ghostclas.serve.security import Security
from ghostclas.serve.sockets import allow_open_files
from tests.hostile_images import REFUSED
from tests.images import bad_images
from tests.serve.certificates import make_certificate
from tests.serve.grpc.stub import Stub, array_of, infer_request
from tests.serve.hosting import HostedProtocol, hosted, logits_of, scores_of
from tests.serve.served import SECONDS, Failing, Gate, builtin_model, jpeg, serving

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def server() -> Iterator[HostedProtocol]:
    with serving(threads=2, body_bytes=8 << 20) as service, hosted(start, service) as host:
        yield host


@pytest.fixture(scope="module")
def stub(server: HostedProtocol) -> Iterator[Stub]:
    with Stub(server.port) as stub:
        yield stub


def is_right(response: object, *images: bytes) -> None:
    np.testing.assert_allclose(array_of(response, "scores"), scores_of(*images), atol=TOLERANCE)


def others_are_answered(stub: Stub) -> None:
    is_right(stub.infer(jpeg(1)), jpeg(1))


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0)


def test_image_files_get_logits_and_scores(stub: Stub) -> None:
    response = stub.infer(jpeg(0), jpeg(1), id="mine")
    assert (response.model_name, response.id) == ("default", "mine")
    is_right(response, jpeg(0), jpeg(1))
    np.testing.assert_allclose(array_of(response, "logits"), logits_of(jpeg(0), jpeg(1)), atol=1e-3)


def test_messages_may_be_larger_than_the_usual_four_megabytes(stub: Stub) -> None:
    # Decoders pass over what follows a JPEG.
    long = jpeg(0) + bytes(5 << 20)
    is_right(stub.infer(long), jpeg(0))


def test_a_message_larger_than_the_limit_is_refused(stub: Stub) -> None:
    status, _ = stub.refused(lambda: stub.infer(bytes(9 << 20)))
    assert status == "RESOURCE_EXHAUSTED"
    others_are_answered(stub)


def test_a_compressed_message_is_answered_and_a_bomb_is_refused(stub: Stub) -> None:
    call = stub.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
    good = infer_request(jpeg(0)).SerializeToString()
    answer = call(good, compression=grpc.Compression.Gzip, timeout=SECONDS)
    is_right(inference["ModelInferResponse"].FromString(answer), jpeg(0))
    bomb = infer_request(raw=bytes(20 << 20), shape=[1]).SerializeToString()
    assert len(gzip.compress(bomb, mtime=0)) < 100_000
    status, _ = stub.refused(lambda: call(bomb, compression=grpc.Compression.Gzip, timeout=SECONDS))
    assert status == "RESOURCE_EXHAUSTED"
    others_are_answered(stub)


def test_a_thousand_calls_begun_and_left(server: HostedProtocol, stub: Stub) -> None:
    data = infer_request(jpeg(0)).SerializeToString()
    with Stub(server.port) as leaving:
        call = leaving.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        for _ in range(1000):
            call.future(data).cancel()
    others_are_answered(stub)


BAD = bad_images()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_an_invalid_argument_that_names_it(stub: Stub, name: str) -> None:
    bad = BAD[name]
    status, message = stub.refused(lambda: stub.infer(jpeg(0), bad.data))
    assert status == "INVALID_ARGUMENT"
    assert message.startswith("image 1 of 2")
    assert f"{bad.code}: " in message
    others_are_answered(stub)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_image_is_an_invalid_argument(large: Stub, name: str) -> None:
    status, message = large.refused(lambda: large.infer(REFUSED[name]()))
    assert status == "INVALID_ARGUMENT"
    assert message.startswith("image 0 of 1")
    others_are_answered(large)


@pytest.fixture(scope="module")
def large() -> Iterator[Stub]:
    with serving(threads=2) as service, hosted(start, service) as server, Stub(server.port) as stub:
        yield stub


@pytest.mark.parametrize(
    "method", ["ModelInfer", "ModelReady", "ModelMetadata", "ServerLive", "ServerMetadata"]
)
@pytest.mark.parametrize("data", [b"\xff" * 9, b"\x0a\x05x", b"\x0a\x01\xff"])
def test_bytes_that_are_no_message(stub: Stub, method: str, data: bytes) -> None:
    if method.startswith("Server") and data == b"\x0a\x01\xff":
        return  # an unknown field of a message without fields
    status, message = stub.refused(lambda: stub.raw(f"{INFERENCE}/{method}", data))
    assert status == "INVALID_ARGUMENT"
    assert f"the message is no inference.{method}Request" in message
    others_are_answered(stub)


@pytest.mark.parametrize(
    "method", ["RepositoryModelLoad", "SystemSharedMemoryRegister", "ModelStreamInfer", "No"]
)
def test_what_is_not_served_is_unimplemented(stub: Stub, method: str) -> None:
    assert stub.refused(lambda: stub.raw(f"{INFERENCE}/{method}", b""))[0] == "UNIMPLEMENTED"
    assert stub.refused(lambda: stub.raw(f"no.Service/{method}", b""))[0] == "UNIMPLEMENTED"
    others_are_answered(stub)


def test_16_photos_at_once_each_with_its_own_answer(server: HostedProtocol) -> None:
    def ask(seed: int) -> None:
        with Stub(server.port) as own:
            response = own.infer(
                jpeg(seed % 5),
                id=str(seed),
                outputs=[("scores", "logits")[seed % 2], "scores"][: 1 + seed % 2],
            )
            assert response.id == str(seed)
            is_right(response, jpeg(seed % 5))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))


def test_500_connections(server: HostedProtocol) -> None:
    allow_open_files(4096)
    stubs = [Stub(server.port) for _ in range(500)]
    try:
        asked = []
        for number, own in enumerate(stubs):
            method = "ModelInfer" if number % 25 == 0 else "ServerLive"
            data = infer_request(jpeg(0)).SerializeToString() if number % 25 == 0 else b""
            asked.append(own.channel.unary_unary(f"/{INFERENCE}/{method}").future(data, timeout=SECONDS))
        for answer in asked:
            assert answer.result()
    finally:
        for own in stubs:
            own.channel.close()


def test_one_connection_more_than_allowed_is_refused_and_the_others_go_on() -> None:
    with (
        serving(connections=2) as service,
        hosted(start, service) as server,
        Stub(server.port) as one,
        Stub(server.port) as two,
        Stub(server.port) as three,
    ):
        assert one.call("ServerLive").live
        assert two.call("ServerLive").live
        assert three.refused(lambda: three.call("ServerLive"))[0] == "UNAVAILABLE"
        others_are_answered(one)
        others_are_answered(two)


@pytest.mark.parametrize(
    "begun", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100]
)
def test_a_connection_that_speaks_no_http2_is_closed(begun: bytes) -> None:
    with serving(header_seconds=0.05) as service, hosted(start, service) as server, Stub(server.port) as stub:
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as plain:
            plain.sendall(begun)
            with contextlib.suppress(ConnectionResetError):
                while plain.recv(1000):
                    pass
        others_are_answered(stub)


def test_metadata_beyond_their_limit(stub: Stub) -> None:
    status, _ = stub.refused(lambda: stub.infer(jpeg(0), metadata=[("x-long", "x" * 20_000)]))
    assert status == "RESOURCE_EXHAUSTED"
    others_are_answered(stub)


def test_a_late_call_is_told_so_and_the_next_is_answered() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate)) as service,
        hosted(start, service) as server,
        Stub(server.port) as stub,
    ):
        assert stub.refused(lambda: stub.infer(jpeg(0), timeout=0.2))[0] == "DEADLINE_EXCEEDED"
        # The server's own limit, which Triton's clients set in microseconds.
        request = infer_request(jpeg(0))
        request.parameters["timeout"].int64_param = 50_000
        status, message = stub.refused(lambda: stub.call("ModelInfer", request))
        assert status == "DEADLINE_EXCEEDED"
        assert message != "Deadline Exceeded"
        assert not gate.open.is_set()
        gate.open.set()
        others_are_answered(stub)


def test_25_tiny_deadlines_and_then_ordinary_ones(stub: Stub) -> None:
    for _ in range(25):
        with contextlib.suppress(grpc.RpcError):
            stub.infer(jpeg(0), timeout=0.001)
    for _ in range(5):
        others_are_answered(stub)


def test_a_cancelled_call_is_dropped() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate)) as service,
        hosted(start, service) as server,
        Stub(server.port) as stub,
        Stub(server.port) as other,
    ):
        call = stub.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        data = infer_request(jpeg(0)).SerializeToString()
        first = call.future(data, timeout=SECONDS)
        gate.wait()
        leaving = [other.channel.unary_unary(f"/{INFERENCE}/ModelInfer").future(data) for _ in range(10)]
        server.run(until(lambda: service.waiting == 10))
        for one in leaving:
            one.cancel()
        server.run(until(lambda: service.waiting == 0))
        server.await_records(lambda records: len(records) == 10)
        assert {(record.status, record.kind) for record in server.records} == {("CANCELLED", "cancelled")}
        gate.open.set()
        assert first.result()
        others_are_answered(other)
    assert sum(gate.sizes) == 2


def test_a_full_queue_is_resource_exhausted_with_a_time_to_come_back() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate), queue_images=1, request_images=1) as service,
        hosted(start, service) as server,
        Stub(server.port) as one,
        Stub(server.port) as two,
        Stub(server.port) as three,
    ):
        data = infer_request(jpeg(0)).SerializeToString()
        first = one.channel.unary_unary(f"/{INFERENCE}/ModelInfer").future(data)
        gate.wait()
        second = two.channel.unary_unary(f"/{INFERENCE}/ModelInfer").future(data)
        server.run(until(lambda: service.waiting == 1))
        with pytest.raises(grpc.RpcError) as caught:
            three.infer(jpeg(0))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(caught.value.trailing_metadata())
        assert int(trailing["grpc-retry-pushback-ms"]) > 0
        gate.open.set()
        assert first.result()
        assert second.result()
        others_are_answered(three)


def test_draining_refuses_new_calls_and_answers_the_old() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate)) as service,
        hosted(start, service) as server,
        Stub(server.port) as stub,
    ):
        data = infer_request(jpeg(0)).SerializeToString()
        first = stub.channel.unary_unary(f"/{INFERENCE}/ModelInfer").future(data)
        gate.wait()
        service.draining = True
        assert stub.refused(lambda: stub.infer(jpeg(0)))[0] == "UNAVAILABLE"
        assert not stub.call("ServerReady").ready
        assert stub.call("ServerLive").live
        gate.open.set()
        server.run(server.running.drain(SECONDS))
        assert first.result()


def test_a_message_that_does_not_come_does_not_hold_the_drain_up() -> None:
    left = threading.Event()

    def nothing() -> Iterator[bytes]:
        assert left.wait(SECONDS)
        yield b""

    with serving() as service, hosted(start, service) as server, Stub(server.port) as stub:
        call = stub.channel.stream_unary(f"/{INFERENCE}/ModelInfer").future(nothing())
        others_are_answered(stub)
        service.draining = True
        server.run(server.running.drain(1.0))
        assert call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        left.set()


def test_a_fault_of_the_engine_is_internal_and_the_next_call_is_right() -> None:
    faults = iter([RuntimeError("a secret of the server")])
    engine = Failing(lambda images: next(faults, None))
    with (
        serving(builtin_model(engine=engine)) as service,
        hosted(start, service) as server,
        Stub(server.port) as stub,
    ):
        status, message = stub.refused(lambda: stub.infer(jpeg(0)))
        assert status == "INTERNAL"
        assert "secret" not in message
        others_are_answered(stub)


def test_the_token_opens_everything_but_health() -> None:
    security = Security(token="0123456789abcdef")
    with (
        serving() as service,
        hosted(start, service, security) as server,
        Stub(server.port) as stub,
    ):
        for header in ("Bearer 0123456789abcdeX", "Basic 0123456789abcdef", "0123456789abcdef", ""):
            given_token = [("authorization", header)] if header else None
            for method in ("ModelInfer", "ServerLive", "ModelMetadata"):
                call = partial(stub.raw, f"{INFERENCE}/{method}", b"", metadata=given_token)
                status, _ = stub.refused(call)
                assert status == "UNAUTHENTICATED"
        assert stub.raw(f"{HEALTH}/Check", b"") == health["HealthCheckResponse"](status=1).SerializeToString()
        is_right(stub.infer(jpeg(0), metadata=[("authorization", "Bearer 0123456789abcdef")]), jpeg(0))


def test_tls_and_clients_with_a_certificate(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path)
    own_chain, own_key = make_certificate(tmp_path, "client")
    security = Security(certificate=chain, key=key, client_authorities=own_chain)
    known = grpc.ssl_channel_credentials(chain.read_bytes(), own_key.read_bytes(), own_chain.read_bytes())
    unknown = grpc.ssl_channel_credentials(chain.read_bytes())

    def stub_of(port: int, credentials: grpc.ChannelCredentials) -> Stub:
        return Stub(port, channel=grpc.secure_channel(f"localhost:{port}", credentials))

    with serving() as service, hosted(start, service, security) as server:
        with stub_of(server.port, known) as stub:
            is_right(stub.infer(jpeg(0)), jpeg(0))
        with stub_of(server.port, unknown) as stub:
            assert stub.refused(lambda: stub.infer(jpeg(0)))[0] == "UNAVAILABLE"
        with Stub(server.port) as stub:
            assert stub.refused(lambda: stub.infer(jpeg(0)))[0] == "UNAVAILABLE"


def test_a_taken_port_is_an_error(server: HostedProtocol) -> None:
    async def again() -> None:
        service = server.service
        await start(service, service.limits, Security(), port=server.port)

    with pytest.raises(OSError, match=f"gRPC cannot listen on 127.0.0.1:{server.port}"):
        server.run(again())


def test_every_call_is_recorded(server: HostedProtocol, stub: Stub) -> None:
    server.records.clear()
    headers = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "mine"),
    ]
    stub.infer(jpeg(0), metadata=headers)
    stub.refused(lambda: stub.infer(jpeg(0), model="none", metadata=headers))
    server.await_records(lambda records: len(records) == 2)
    good, bad = server.records
    assert (good.protocol, good.method, good.status) == ("grpc", f"{INFERENCE}/ModelInfer", "OK")
    assert (good.request_id, good.trace_id) == ("mine", "0af7651916cd43dd8448eb211c80319c")
    assert (good.model, good.images) == ("default", 1)
    assert (bad.status, bad.kind, bad.images) == ("NOT_FOUND", "not_found", 0)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_messages_never_harm_another_client(data: st.DataObject) -> None:
    stub = _stubs[0]
    whole = bytearray(infer_request(jpeg(0), outputs=["scores"]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 80))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    sent = bytes(whole[:cut]) if data.draw(st.booleans()) else bytes(whole)
    answer = stub.channel.unary_unary(f"/{INFERENCE}/ModelInfer").future(sent, timeout=SECONDS)
    assert answer.code() in (
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
    )
    others_are_answered(stub)


_stubs: list[Stub] = []


@pytest.fixture(scope="module", autouse=True)
def _keep(stub: Stub) -> Iterator[None]:
    _stubs.append(stub)
    yield
    _stubs.clear()
