"""Messages from tables: the same bytes as the format says, in a pool of their own."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from ghostclas.serve.protos import FILES, POOL, SERVICES, define

PACKAGE = "tests.protos"


@pytest.fixture(scope="module")
def messages() -> dict[str, type]:
    return define(
        "tests/protos.proto",
        PACKAGE,
        {
            "Outer": {
                "text": "1 string",
                "numbers": "2 repeated int32",
                "inner": "3 Outer.Inner",
                "state": "4 Outer.State",
                "named": "5 map<string, Outer.Inner>",
                "left": "6 bool in side",
                "right": "7 double in side",
            },
            "Outer.Inner": {"data": "1 bytes"},
        },
        enums={"Outer.State": ("NONE", "SOME")},
        services={"Caller": {"Call": ("Outer", "stream Outer.Inner")}},
    )


def test_the_bytes_are_those_of_the_format(messages: dict[str, type]) -> None:
    message = messages["Outer"](text="a", numbers=[1, 300], state=1)
    message.inner.data = b"\xff"
    message.named["k"].data = b"v"
    assert message.SerializeToString(deterministic=True) == (
        b"\x0a\x01a\x12\x03\x01\xac\x02\x1a\x03\x0a\x01\xff\x20\x01\x2a\x08\x0a\x01k\x12\x03\x0a\x01v"
    )


def test_one_of_two_fields(messages: dict[str, type]) -> None:
    message = messages["Outer"](left=True)
    message.right = 2.0
    assert message.WhichOneof("side") == "right"


def test_the_service_is_described(messages: dict[str, type]) -> None:
    assert SERVICES[f"{PACKAGE}.Caller"] == "tests/protos.proto"
    file = descriptor_pb2.FileDescriptorProto.FromString(FILES["tests/protos.proto"])
    (method,) = file.service[0].method
    assert (method.input_type, method.output_type) == (f".{PACKAGE}.Outer", f".{PACKAGE}.Outer.Inner")
    assert (method.client_streaming, method.server_streaming) == (False, True)


def test_the_default_pool_knows_nothing_of_it(messages: dict[str, type]) -> None:
    assert POOL.FindMessageTypeByName(f"{PACKAGE}.Outer").full_name == f"{PACKAGE}.Outer"
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.Outer")


def test_a_field_that_is_none_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match=r"M\.x: 'string' is no field"):
        define("tests/broken.proto", "tests.broken", {"M": {"x": "string"}})
