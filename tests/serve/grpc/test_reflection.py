"""gRPC's reflection: what a generic client needs to call a service that it has never heard of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ghostclas.serve.grpc.messages import INFERENCE, REFLECTIONS, reflection
from ghostclas.serve.grpc.server import SERVICES, start
from ghostclas.serve.security import Security
from tests.serve.grpc.stub import Stub
from tests.serve.hosting import hosted
from tests.serve.served import SECONDS, serving


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving() as service, hosted(start, service) as server, Stub(server.port) as stub:
        yield stub


def ask(stub: Stub, version: str, *requests: dict[str, Any]) -> list[Any]:
    messages = reflection[version]
    data = [messages["ServerReflectionRequest"](**request).SerializeToString() for request in requests]
    call = stub.channel.stream_stream(f"/{version}/ServerReflectionInfo")
    return [
        messages["ServerReflectionResponse"].FromString(answer)
        for answer in call(iter(data), timeout=SECONDS)
    ]


@pytest.mark.parametrize("version", REFLECTIONS)
def test_a_client_that_knows_nothing_builds_a_call(stub: Stub, version: str) -> None:
    listed, described = ask(
        stub, version, {"list_services": "", "host": "h"}, {"file_containing_symbol": INFERENCE}
    )
    assert [service.name for service in listed.list_services_response.service] == list(SERVICES)
    assert listed.valid_host == "h"
    (file,) = described.file_descriptor_response.file_descriptor_proto
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
    method = pool.FindServiceByName(INFERENCE).FindMethodByName("ServerLive")
    answer = message_factory.GetMessageClass(method.output_type)
    assert answer.FromString(stub.raw(f"{INFERENCE}/ServerLive", b"")).live  # type: ignore[attr-defined]


@pytest.mark.parametrize("symbol", [*SERVICES, "inference.ModelInferRequest.InferInputTensor"])
def test_every_symbol_has_its_file(stub: Stub, symbol: str) -> None:
    (answer,) = ask(stub, REFLECTIONS[0], {"file_containing_symbol": symbol})
    (file,) = answer.file_descriptor_response.file_descriptor_proto
    name = descriptor_pb2.FileDescriptorProto.FromString(file).name
    (again,) = ask(stub, REFLECTIONS[0], {"file_by_filename": name})
    assert list(again.file_descriptor_response.file_descriptor_proto) == [file]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"file_containing_symbol": "no.such.Symbol"}, 5),
        ({"file_containing_symbol": "\0"}, 5),
        ({"file_by_filename": "/etc/passwd"}, 5),
        ({"file_containing_extension": {"containing_type": "x", "extension_number": 1}}, 5),
        ({"all_extension_numbers_of_type": "no.such.Type"}, 5),
        ({}, 3),
    ],
)
def test_what_is_not_there_is_an_error_and_the_stream_goes_on(
    stub: Stub, request_: dict[str, Any], code: int
) -> None:
    refused, listed = ask(stub, REFLECTIONS[0], request_, {"list_services": ""})
    assert refused.error_response.error_code == code
    assert refused.error_response.error_message
    assert listed.list_services_response.service


def test_a_type_without_extensions(stub: Stub) -> None:
    (answer,) = ask(stub, REFLECTIONS[0], {"all_extension_numbers_of_type": "inference.ServerLiveRequest"})
    told = answer.all_extension_numbers_response
    assert (told.base_type_name, list(told.extension_number)) == ("inference.ServerLiveRequest", [])


def test_bytes_that_are_no_request_and_a_client_without_the_token(stub: Stub) -> None:
    call = stub.channel.stream_stream(f"/{REFLECTIONS[0]}/ServerReflectionInfo")(iter([b"\xff"]))
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
    with (
        serving() as service,
        hosted(start, service, Security(token="0123456789abcdef")) as server,
        Stub(server.port) as other,
    ):
        call = other.channel.stream_stream(f"/{REFLECTIONS[0]}/ServerReflectionInfo")(iter([b""]))
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED


def test_an_open_stream_ends_with_the_server() -> None:
    left = threading.Event()
    listing = reflection[REFLECTIONS[0]]["ServerReflectionRequest"](list_services="").SerializeToString()

    def one_and_no_end() -> Iterator[bytes]:
        yield listing
        assert left.wait(SECONDS)

    with serving() as service, hosted(start, service) as server, Stub(server.port) as own:
        call = own.channel.stream_stream(f"/{REFLECTIONS[0]}/ServerReflectionInfo")(one_and_no_end())
        assert next(call)
        service.draining = True
        assert list(call) == []
        assert call.code() is grpc.StatusCode.OK
        left.set()
