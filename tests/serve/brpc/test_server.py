"""bRPC against a client that shares no code with the server: right answers and exact codes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ghostclas.imaging import preprocess
from ghostclas.serve.brpc.server import CODES, start
from ghostclas.serve.failures import Kind
from ghostclas.serve.http.server import start as start_http
from ghostclas.serve.security import Security
from ghostclas.serve.sockets import allow_open_files
from tests.hostile_images import REFUSED
from tests.images import bad_images
from tests.serve.brpc.client import (
    Client,
    Reply,
    field,
    frame,
    meta,
    picture,
    request,
    tensor,
    varint,
)
from tests.serve.certificates import make_certificate
from tests.serve.hosting import HostedProtocol, hosted, logits_of, scores_of
from tests.serve.served import SECONDS, Failing, Gate, builtin_bundle, builtin_model, jpeg, serving

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def server() -> Iterator[HostedProtocol]:
    with serving(threads=2, body_bytes=4 << 20) as service, hosted(start, service) as host:
        yield host


@pytest.fixture
def client(server: HostedProtocol) -> Iterator[Client]:
    with Client(server.port) as client:
        yield client


def is_right(reply: Reply, *images: bytes, correlation_id: int = 1) -> None:
    assert (reply.code, reply.text, reply.correlation_id) == (0, "", correlation_id)
    np.testing.assert_allclose(reply.outputs["prediction"], scores_of(*images), atol=TOLERANCE)


def others_are_answered(server: HostedProtocol) -> None:
    with Client(server.port) as other:
        is_right(other.call(picture(jpeg(1))), jpeg(1))


def planes_of(*images: bytes) -> NDArray[np.float32]:
    spec = builtin_bundle().preprocess
    pixels = np.stack([preprocess(image, spec) for image in images]).astype(np.float32)
    normalised = (pixels / 255 - np.array(spec.mean)) / np.array(spec.std)
    return normalised.transpose(0, 3, 1, 2).astype(np.float32)


def test_every_kind_of_failure_has_a_code() -> None:
    assert CODES.keys() == set(Kind)
    assert 0 not in CODES.values()


# What Paddle Serving's clients send.


def test_an_image_file_in_base64_gets_its_scores(client: Client) -> None:
    is_right(client.call(picture(jpeg(0), log_id=7)), jpeg(0))


def test_the_log_id_is_in_the_answer(client: Client) -> None:
    reply = client.call(picture(jpeg(0), log_id=2**63 + 5))
    assert field(4, 2**63 + 5) in reply.message


def test_many_image_files_are_one_batch(client: Client) -> None:
    files = [jpeg(0), jpeg(1), jpeg(2)]
    texts = [base64.b64encode(file) for file in files]
    is_right(client.call(request(tensor(20, shape=(3,), strings=texts))), *files)


@pytest.mark.parametrize("elem_type", [7, 8])
def test_bytes_of_a_file(client: Client, elem_type: int) -> None:
    data = jpeg(0)
    is_right(client.call(request(tensor(elem_type, shape=(len(data),), content=data))), data)
    # Paddle's client sends the shape of its configuration, whatever the file.
    for shape in ((), (1,), (-1,), (1, 1)):
        is_right(client.call(request(tensor(elem_type, shape=shape, content=data))), data)


def test_bytes_of_several_pictures_with_the_shape_of_one(client: Client) -> None:
    pixels = np.stack([preprocess(jpeg(seed), builtin_bundle().preprocess) for seed in (0, 1)])
    for shape in (pixels.shape[1:], (-1, *pixels.shape[1:])):
        answer = client.call(request(tensor(7, shape=shape, content=pixels.tobytes())))
        is_right(answer, jpeg(0), jpeg(1))
    planes = planes_of(jpeg(0), jpeg(1))
    halves = planes.astype("<f2").tobytes()
    is_right(client.call(request(tensor(5, shape=planes.shape[1:], content=halves))), jpeg(0), jpeg(1))


def test_bytes_of_pixels(client: Client) -> None:
    pixels = np.stack([preprocess(jpeg(seed), builtin_bundle().preprocess) for seed in (0, 1)])
    is_right(client.call(request(tensor(7, shape=pixels.shape, content=pixels.tobytes()))), jpeg(0), jpeg(1))


def test_normalised_planes_become_the_pixels_they_were(client: Client) -> None:
    planes = planes_of(jpeg(0), jpeg(1))
    is_right(client.call(request(tensor(1, shape=planes.shape, floats=planes))), jpeg(0), jpeg(1))
    one = planes[0]
    is_right(client.call(request(tensor(1, shape=one.shape, floats=one))), jpeg(0))


def test_half_precision_planes(client: Client) -> None:
    planes = planes_of(jpeg(0))
    reply = client.call(request(tensor(5, shape=planes.shape, content=planes.astype("<f2").tobytes())))
    is_right(reply, jpeg(0))


@pytest.mark.parametrize("names", [("x", ""), ("", "inputs"), ("image", "image"), ("default", "")])
def test_every_name_of_the_input(client: Client, names: tuple[str, str]) -> None:
    text = base64.b64encode(jpeg(0))
    is_right(client.call(request(tensor(20, strings=[text], name=names[0], alias=names[1]))), jpeg(0))


def test_outputs_come_in_the_order_of_the_fetch_names(client: Client) -> None:
    names = ("logits", "save_infer_model/scale_0.tmp_1", "softmax_1.tmp_0", "scores")
    outputs = client.call(picture(jpeg(0), fetch=names)).outputs
    assert tuple(outputs) == names
    np.testing.assert_allclose(outputs["logits"], logits_of(jpeg(0)), atol=1e-3)
    for name in names[1:]:
        np.testing.assert_allclose(outputs[name], scores_of(jpeg(0)), atol=TOLERANCE)


def test_without_fetch_names_the_scores_are_fetched(client: Client) -> None:
    is_right(client.call(picture(jpeg(0), fetch=())), jpeg(0))


# The frame and its meta.


def test_the_service_is_found_without_its_package(client: Client) -> None:
    is_right(client.call(picture(jpeg(0)), service="GeneralModelService"), jpeg(0))


@pytest.mark.parametrize(
    ("service", "method", "code"),
    [
        ("NoService", "inference", 1001),
        ("", "inference", 1001),
        ("no.such.Service", "inference", 1002),
        ("baidu.paddle_serving.predictor.general_model.GeneralModelService", "debug", 1002),
        ("GeneralModelService", "", 1002),
        ("x" * 100_000, "inference", 1001),
    ],
)
def test_an_unknown_service_or_method(
    server: HostedProtocol, client: Client, service: str, method: str, code: int
) -> None:
    reply = client.call(picture(jpeg(0)), service=service, method=method)
    assert (reply.code, reply.message) == (code, b"")
    assert len(reply.text) < 500
    is_right(client.call(picture(jpeg(0)), 2), jpeg(0), correlation_id=2)
    others_are_answered(server)


def test_a_meta_without_a_request_calls_no_service(client: Client) -> None:
    client.send(frame(field(4, 9)))
    reply = client.receive()
    assert (reply.code, reply.correlation_id) == (1001, 9)


def pack_gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def pack_snappy(data: bytes) -> bytes:
    return bytes(pytest.importorskip("pyarrow").compress(data, codec="snappy", asbytes=True))


@pytest.mark.parametrize(
    ("kind", "pack"), [(1, pack_snappy), (2, pack_gzip), (3, zlib.compress)], ids=["snappy", "gzip", "zlib"]
)
def test_compressed_messages(client: Client, kind: int, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(picture(jpeg(0)))
    is_right(client.call(packed, compress=kind), jpeg(0))
    is_right(client.call(packed, compress=kind, attachment=b"not compressed"), jpeg(0))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (4, zlib.compress(picture(jpeg(0)))),
        (-1, picture(jpeg(0))),
        (2**31 - 1, picture(jpeg(0))),
        (2, zlib.compress(picture(jpeg(0)))),
        (3, gzip.compress(picture(jpeg(0)), mtime=0)),
        (2, gzip.compress(picture(jpeg(0)), mtime=0)[:-1]),
        (3, zlib.compress(picture(jpeg(0))) + b"!"),
        (2, b""),
        (3, zlib.compress(bytes(5 << 20))),
        (2, gzip.compress(bytes(200 << 20), 1, mtime=0)),
        (1, b""),
        (1, varint(2**32 - 1) + b"\0"),
        (1, varint(100) + b"\xff\xff\xff"),
        (1, b"\xff" * 20),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_what_does_not_unpack_is_a_bad_request(
    server: HostedProtocol, client: Client, kind: int, body: bytes
) -> None:
    reply = client.call(body, compress=kind)
    assert (reply.code, reply.correlation_id, reply.message) == (1003, 1, b"")
    is_right(client.call(picture(jpeg(0)), 2), jpeg(0), correlation_id=2)
    others_are_answered(server)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack(">I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def test_checksums_are_checked_and_given(client: Client) -> None:
    message = gzip.compress(picture(jpeg(0)), mtime=0)
    extra = field(11, 1) + field(12, masked(message))
    reply = client.call(message, compress=2, extra=extra, attachment=b"more")
    is_right(reply, jpeg(0))
    assert reply.meta[11] == [1]
    assert reply.meta[12] == [masked(reply.message)]
    both = field(11, 1) + field(12, masked(message + b"more")) + field(13, 1)
    is_right(client.call(message, compress=2, extra=both, attachment=b"more"), jpeg(0))


def test_the_empty_checksum_that_brpc_always_sends_is_none(client: Client) -> None:
    is_right(client.call(picture(jpeg(0)), extra=field(10, 0) + field(11, 0) + field(12, b"")), jpeg(0))


@pytest.mark.parametrize(
    "extra",
    [
        field(11, 1),
        field(11, 1) + field(12, b"\0\0\0\0"),
        field(11, 1) + field(12, b"\0\0\0"),
        field(11, 1) + field(12, bytes(5)),
        field(11, 2) + field(12, bytes(4)),
        field(11, -1),
        field(10, 1),
        field(10, 99),
        field(5, 10**6),
        field(5, -1),
    ],
)
def test_a_meta_that_asks_for_the_impossible(server: HostedProtocol, client: Client, extra: bytes) -> None:
    reply = client.call(picture(jpeg(0)), extra=extra)
    assert (reply.code, reply.correlation_id) == (1003, 1)
    is_right(client.call(picture(jpeg(0)), 2), jpeg(0), correlation_id=2)
    others_are_answered(server)


def test_a_call_with_a_stream_is_answered_without_one(client: Client) -> None:
    reply = client.call(picture(jpeg(0)), extra=field(8, field(1, 77) + field(2, 1) + field(3, 1)))
    is_right(reply, jpeg(0))
    assert 8 not in reply.meta


@pytest.mark.parametrize("correlation_id", [0, -1, 2**63 - 1, -(2**63)])
def test_every_correlation_id(client: Client, correlation_id: int) -> None:
    is_right(client.call(picture(jpeg(0)), correlation_id), jpeg(0), correlation_id=correlation_id)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"P",
        b"PRPX",
        b"\0" * 4,
        struct.pack(">4sII", b"PRPC", 2**32 - 1, 0),
        struct.pack(">4sII", b"PRPC", (4 << 20) + 1, 10),
        struct.pack(">4sII", b"PRPC", 10, 11),
        struct.pack(">4sII", b"PRPC", 10, 2**32 - 1),
        struct.pack(">4sII", b"PRPC", 3 << 20, 2 << 20),
        frame(b"\xff" * 30),
        frame(field(1, field(1, b"\xff\xfe"))),
        frame(field(1, b"\x0a\x7f")),
        frame(field(9, b"\x0a\x02\xff\xff")),
        frame(meta(1), picture(b"x")) + b"PRPD" + bytes(8),
    ],
)
def test_what_cannot_be_followed_ends_the_connection(server: HostedProtocol, data: bytes) -> None:
    with Client(server.port) as client:
        client.send(data)
        if len(data) < 4:
            client.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(EOFError, ConnectionResetError):
            while client.receive():
                pass
        assert client.ended()
    others_are_answered(server)


def test_every_cut_of_a_frame(server: HostedProtocol) -> None:
    whole = frame(meta(1), picture(jpeg(0)))
    for end in [*range(0, 60, 3), len(whole) // 2, len(whole) - 1]:
        with Client(server.port) as client:
            client.send(whole[:end])
    others_are_answered(server)


def test_a_frame_may_come_byte_by_byte(client: Client) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    whole = frame(meta(1), picture(jpeg(0)))
    for at in range(100):
        client.send(whole[at : at + 1])
    client.send(whole[100:])
    is_right(client.receive(), jpeg(0))


@pytest.mark.parametrize(
    "message",
    [
        b"\xff" * 10,
        b"",
        request(),
        request(tensor(20), tensor(20)),
        request(tensor(20)),
        request(tensor(20, strings=["not base64!"])),
        request(tensor(20, strings=["é"])),
        request(tensor(20, strings=["QUJD=QUJD"])),
        request(tensor(20, strings=["QQ=="] * 65)),
        request(tensor(20, strings=["QQ=="], name="nobody", alias="knows")),
        request(tensor(20, strings=["QQ=="], name="", alias="")),
        request(tensor(20, strings=["QQ=="]), fetch=["nothing"]),
        request(tensor(0, shape=(1,))),
        request(tensor(13)),
        request(tensor(-1)),
        request(tensor(7, shape=(1, 224, 224, 3), content=b"123")),
        request(tensor(7, shape=(3,), content=b"1234")),
        request(tensor(7, shape=(2**31 - 1,) * 8, content=b"123")),
        request(tensor(7, shape=(-1,), content=b"123")),
        request(tensor(7, shape=(0, 224, 224, 3))),
        request(tensor(1, shape=(1, 3, 224, 224))),
        request(tensor(1, shape=(1, 3, 224, 224), floats=np.zeros(7, np.float32))),
        request(tensor(1, shape=(1, 3, 8, 8), floats=np.zeros((1, 3, 8, 8), np.float32))),
        request(tensor(1, shape=(-1, 3, 8, 8), floats=np.zeros((1, 3, 8, 8), np.float32))),
        request(tensor(1, shape=(2**31 - 1,) * 9)),
        request(tensor(1)),
        request(tensor(7, shape=(2, 128, 128, 3), content=bytes(128 * 128 * 3))),
        request(tensor(7, shape=(1, 1, 128, 128, 3), content=bytes(128 * 128 * 3))),
        request(tensor(7, shape=(64, 64, 3), content=bytes(64 * 64 * 3))),
        request(tensor(5, shape=(3, 128, 128), content=bytes(128 * 128 * 3))),
        request(tensor(5, shape=(1,), content=b"123")),
    ],
)
def test_a_message_that_holds_no_picture(server: HostedProtocol, client: Client, message: bytes) -> None:
    reply = client.call(message)
    assert (reply.code, reply.message) == (1003, b"")
    assert 10 < len(reply.text) < 500
    is_right(client.call(picture(jpeg(0)), 2), jpeg(0), correlation_id=2)
    others_are_answered(server)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 255.0, -9.0])
def test_planes_that_are_no_pixels(client: Client, value: float) -> None:
    planes = planes_of(jpeg(0))
    planes[0, 1, 5, 7] = value
    reply = client.call(request(tensor(1, shape=planes.shape, floats=planes)))
    assert reply.code == 1003
    assert "normalise by mean" in reply.text


BAD = bad_images()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_a_bad_request_that_names_it(
    server: HostedProtocol, client: Client, name: str
) -> None:
    texts = [base64.b64encode(image) for image in (jpeg(0), BAD[name].data)]
    reply = client.call(request(tensor(20, strings=texts)))
    assert (reply.code, reply.message) == (1003, b"")
    assert reply.text.startswith("image 1 of 2")
    assert BAD[name].code in reply.text
    is_right(client.call(picture(jpeg(0)), 2), jpeg(0), correlation_id=2)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_image_is_a_bad_request(name: str) -> None:
    with (
        serving(body_bytes=32 << 20) as service,
        hosted(start, service) as server,
        Client(server.port) as client,
    ):
        reply = client.call(picture(REFUSED[name]()))
        assert (reply.code, reply.message) == (1003, b"")
        assert reply.text.startswith("image 0 of 1")
        others_are_answered(server)


# Many at once.


def test_pipelined_calls_are_answered_each_with_its_own(client: Client) -> None:
    for number in range(16):
        client.send(frame(meta(number), picture(jpeg(number % 5))))
    replies = {}
    for _ in range(16):
        reply = client.receive()
        replies[reply.correlation_id] = reply
    assert sorted(replies) == list(range(16))
    for number, reply in replies.items():
        is_right(reply, jpeg(number % 5), correlation_id=number)


def test_answers_overtake_each_other() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate)) as service,
        hosted(start, service) as server,
        Client(server.port) as client,
    ):
        client.send(frame(meta(1), picture(jpeg(0))))
        gate.wait()
        client.send(frame(meta(2, method="none"), b""))
        overtaking = client.receive()
        assert (overtaking.correlation_id, overtaking.code) == (2, 1002)
        gate.open.set()
        is_right(client.receive(), jpeg(0))


def test_500_connections(server: HostedProtocol) -> None:
    allow_open_files(4096)
    clients = [Client(server.port) for _ in range(500)]
    try:
        for number, client in enumerate(clients):
            # Most are refused, for they ask a service that does not exist; each gets its own number.
            asked = picture(jpeg(0)) if number % 25 == 0 else b""
            client.send(frame(meta(number, method="inference" if asked else "none"), asked))
        for number, client in enumerate(clients):
            reply = client.receive()
            assert reply.correlation_id == number
            assert reply.code == (1002 if number % 25 else 0)
    finally:
        for client in clients:
            client.close()


def test_one_connection_more_than_allowed_is_closed_and_the_others_go_on() -> None:
    with (
        serving(connections=2) as service,
        hosted(start, service) as server,
        Client(server.port) as one,
        Client(server.port) as two,
    ):
        is_right(one.call(picture(jpeg(0))), jpeg(0))
        is_right(two.call(picture(jpeg(0))), jpeg(0))
        with Client(server.port) as three:
            assert three.ended()
        is_right(one.call(picture(jpeg(0))), jpeg(0))


def test_a_late_call_is_told_so_on_time_and_the_next_is_answered() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate), request_seconds=10 * SECONDS) as service,
        hosted(start, service) as server,
        Client(server.port) as client,
    ):
        client.send(frame(meta(1, timeout_ms=20), picture(jpeg(0))))
        reply = client.receive()
        assert (reply.code, reply.correlation_id) == (1008, 1)
        assert not gate.open.is_set()
        gate.open.set()
        is_right(client.call(picture(jpeg(0))), jpeg(0))


def test_tiny_deadlines_and_then_ordinary_ones(server: HostedProtocol, client: Client) -> None:
    for number in range(25):
        client.send(frame(meta(number, timeout_ms=1), picture(jpeg(0))))
    assert {client.receive().code for _ in range(25)} <= {0, 1008}
    for number in range(5):
        is_right(client.call(picture(jpeg(0)), number), jpeg(0), correlation_id=number)


def test_a_full_queue_is_2004_and_the_queued_are_answered() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate), queue_images=2, request_images=2) as service,
        hosted(start, service) as server,
        Client(server.port) as first,
        Client(server.port) as second,
        Client(server.port) as third,
    ):
        first.send(frame(meta(1), picture(jpeg(0))))
        gate.wait()
        texts = [base64.b64encode(jpeg(seed)) for seed in (1, 2)]
        second.send(frame(meta(2), request(tensor(20, strings=texts))))
        server.run(_until(lambda: service.waiting == 2))
        reply = third.call(picture(jpeg(0)), 3)
        assert (reply.code, reply.correlation_id) == (2004, 3)
        gate.open.set()
        is_right(first.receive(), jpeg(0))
        is_right(second.receive(), jpeg(1), jpeg(2), correlation_id=2)
        is_right(third.call(picture(jpeg(0))), jpeg(0))


async def _until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0)


def test_calls_of_a_client_that_leaves_are_dropped() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate)) as service,
        hosted(start, service) as server,
        Client(server.port) as stays,
    ):
        stays.send(frame(meta(1), picture(jpeg(0))))
        gate.wait()
        with Client(server.port) as leaves:
            for number in range(20):
                leaves.send(frame(meta(number), picture(jpeg(1))))
            server.run(_until(lambda: service.waiting == 20))
        server.run(_until(lambda: service.waiting == 0))
        server.await_records(lambda records: len(records) == 20)
        assert {record.kind for record in server.records} == {"cancelled"}
        gate.open.set()
        is_right(stays.receive(), jpeg(0))

    assert sum(gate.sizes) == 1


def test_200_clients_that_leave_at_once_and_then_one_that_stays(server: HostedProtocol) -> None:
    asked = frame(meta(1), picture(jpeg(0)))
    for _ in range(200):
        with Client(server.port) as client:
            client.send(asked)
            # Closed like this, the connection is reset and not ended.
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    others_are_answered(server)


def test_draining_refuses_new_calls_and_answers_the_old() -> None:
    gate = Gate()
    with serving(builtin_model(engine=gate)) as service, hosted(start, service) as server:
        with Client(server.port) as client:
            client.send(frame(meta(1), picture(jpeg(0))))
            gate.wait()
            service.draining = True
            reply = client.call(picture(jpeg(0)), 2)
            assert (reply.code, reply.correlation_id) == (2003, 2)
            gate.open.set()
            server.run(server.running.drain(30))
            is_right(client.receive(), jpeg(0))
            assert client.ended()
        with pytest.raises(ConnectionRefusedError):
            Client(server.port).close()


def test_a_fault_of_the_engine_is_2001_and_the_next_call_is_right() -> None:
    faults = iter([RuntimeError("a secret of the server")])
    engine = Failing(lambda images: next(faults, None))
    with (
        serving(builtin_model(engine=engine)) as service,
        hosted(start, service) as server,
        Client(server.port) as client,
    ):
        reply = client.call(picture(jpeg(0)))
        assert reply.code == 2001
        assert "secret" not in reply.text
        is_right(client.call(picture(jpeg(0))), jpeg(0))


# Who may call, and for how long.


def test_the_token_is_the_authentication_data() -> None:
    security = Security(token="0123456789abcdef")
    with serving() as service, hosted(start, service, security) as server, Client(server.port) as client:
        for token in (b"", b"0123456789abcdeX", b"Bearer", b"Basic 0123456789abcdef", b"\xff" * 16):
            reply = client.call(picture(jpeg(0)), token=token)
            assert (reply.code, reply.message) == (1004, b"")
        for token in (b"0123456789abcdef", b"Bearer 0123456789abcdef"):
            is_right(client.call(picture(jpeg(0)), token=token), jpeg(0))


def test_tls_and_clients_with_a_certificate(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path)
    own_chain, own_key = make_certificate(tmp_path, "client")
    security = Security(certificate=chain, key=key, client_authorities=own_chain)
    trusting = ssl.create_default_context(cafile=str(chain))
    known = ssl.create_default_context(cafile=str(chain))
    known.load_cert_chain(own_chain, own_key)

    def tls(context: ssl.SSLContext) -> Callable[[socket.socket], socket.socket]:
        return lambda plain: context.wrap_socket(plain, server_hostname="localhost")

    with serving() as service, hosted(start, service, security) as server:
        with Client(server.port, wrap=tls(known)) as client:
            is_right(client.call(picture(jpeg(0))), jpeg(0))
        with pytest.raises((OSError, EOFError)), Client(server.port, wrap=tls(trusting)) as client:
            client.call(picture(jpeg(0)))
        with pytest.raises((OSError, EOFError)), Client(server.port) as client:
            client.call(picture(jpeg(0)))


@pytest.mark.parametrize("begun", [b"", b"PRPC", frame(meta(1), picture(jpeg(0)))[:-1]])
def test_a_silent_client_is_disconnected(begun: bytes) -> None:
    with serving(idle_seconds=0.05, body_seconds=0.05) as service, hosted(start, service) as server:
        with Client(server.port) as client:
            client.send(begun)
            assert client.ended()
        others_are_answered(server)


def test_an_idle_limit_does_not_end_a_call_that_takes_longer() -> None:
    gate = Gate()
    with (
        serving(builtin_model(engine=gate), idle_seconds=0.02) as service,
        hosted(start, service) as server,
        Client(server.port) as client,
    ):
        client.send(frame(meta(1), picture(jpeg(0))))
        gate.wait()
        server.run(asyncio.sleep(0.1))
        gate.open.set()
        is_right(client.receive(), jpeg(0))


def test_large_frames_that_never_end_do_not_fill_the_memory() -> None:
    with (
        serving(queue_bytes=1 << 20, body_bytes=32 << 20, body_seconds=10 * SECONDS) as service,
        hosted(start, service) as server,
    ):
        head = struct.pack(">4sII", b"PRPC", 30 << 20, 10)
        with Client(server.port) as client:
            with contextlib.suppress(ConnectionError):
                client.send(head + bytes(8 << 20))
            assert client.ended()
        others_are_answered(server)


def test_calls_that_hold_too_much_together_are_refused_and_the_rest_is_answered() -> None:
    gate = Gate()
    large = bytes(600_000)
    with (
        serving(builtin_model(engine=gate), queue_bytes=1 << 20) as service,
        hosted(start, service) as server,
        Client(server.port) as client,
    ):
        # The queue counts images, and attachments are none.
        for number in range(5):
            client.send(frame(meta(number, attachment=len(large)), picture(jpeg(0)) + large))
        refused = client.receive()
        assert refused.code == 2004
        assert "large calls" in refused.text
        gate.open.set()
        for _ in range(4):
            reply = client.receive()
            if reply.code:
                assert "large calls" in reply.text
            else:
                is_right(reply, jpeg(0), correlation_id=reply.correlation_id)
        is_right(client.call(picture(jpeg(0))), jpeg(0))


def test_a_client_that_does_not_read_is_not_read_from_and_ends() -> None:
    with serving(write_seconds=0.2) as service, hosted(start, service) as server:
        with Client(server.port, receive_buffer=4096) as client:
            refused = 1000 * frame(meta(1, method="x" * 150))
            with pytest.raises(ConnectionError):
                client.send(refused * 1000)
        others_are_answered(server)


def test_every_call_is_recorded(server: HostedProtocol, client: Client) -> None:
    server.records.clear()
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    client.call(picture(jpeg(0)), request_id="mine", user_fields=traced)
    client.call(b"", method="none", request_id="x" * 1000)
    client.call(picture(jpeg(0), log_id=77))
    server.await_records(lambda records: len(records) == 3)
    good, bad, logged = server.records
    assert logged.request_id == "77"
    assert (good.protocol, good.status, good.kind, good.request_id) == ("brpc", "0", "", "mine")
    assert (good.trace_id, good.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert (good.model, good.images, good.peer) == ("default", 1, "127.0.0.1")
    assert (bad.status, bad.kind, bad.images) == ("1002", "not_found", 0)
    assert bad.request_id != "x" * 1000


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_frames_never_harm_another_client(data: st.DataObject) -> None:
    server = _fuzzed()
    whole = bytearray(frame(meta(1, timeout_ms=5000), picture(jpeg(0))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 150))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with Client(server.port) as client:
        client.send(bytes(whole[:cut]) if data.draw(st.booleans()) else bytes(whole))
        client.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(EOFError, ConnectionResetError):
            assert client.receive().code in (0, 1001, 1002, 1003, 1008)
    others_are_answered(server)


_host: list[HostedProtocol] = []


@pytest.fixture(scope="module", autouse=True)
def _keep(server: HostedProtocol) -> Iterator[None]:
    _host.append(server)
    yield
    _host.clear()


def _fuzzed() -> HostedProtocol:
    """Return the module's server: hypothesis takes no fixture of a function."""
    return _host[0]


def test_bytes_that_begin_with_prpc_are_brpc_on_the_port_of_http() -> None:
    with (
        serving() as service,
        socket.create_server(("127.0.0.1", 0)) as listener,
        hosted(start_http, service, sock=listener) as server,
        Client(server.port) as client,
    ):
        for piece in (b"P", b"RPC", frame(meta(1), picture(jpeg(0)))[4:]):
            client.send(piece)
        is_right(client.receive(), jpeg(0))
        is_right(client.call(picture(jpeg(1)), 2), jpeg(1), correlation_id=2)
        assert urlopen(f"http://127.0.0.1:{server.port}/v2/health/live", timeout=SECONDS).status == 200
        service.draining = True
        assert client.call(picture(jpeg(1)), 3).code == 2003
        server.run(server.running.drain(SECONDS))
        assert client.ended()
