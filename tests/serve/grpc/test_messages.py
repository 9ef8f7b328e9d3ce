"""The tables of messages; that they are those of others, their clients prove."""

from __future__ import annotations

from ghostclas.serve.grpc.messages import HEALTH, INFERENCE, REFLECTIONS, health, inference, reflection
from ghostclas.serve.protos import SERVICES


def test_the_services_are_described() -> None:
    assert {INFERENCE, HEALTH, *REFLECTIONS} <= SERVICES.keys()


def test_both_versions_of_reflection_are_alike() -> None:
    one, other = (reflection[name]["ServerReflectionRequest"](list_services="*") for name in REFLECTIONS)
    assert one.SerializeToString() == other.SerializeToString() == b"\x3a\x01*"


def test_a_request_in_bytes() -> None:
    request = inference["ModelInferRequest"](model_name="m", id="i", raw_input_contents=[b"r"])
    request.inputs.add(name="n", datatype="D", shape=[-1])
    assert request.SerializeToString() == b"".join(
        [
            b"\x0a\x01m",
            b"\x1a\x01i",
            b"\x2a\x12\x0a\x01n\x12\x01D\x1a\x0a",
            b"\xff" * 9,
            b"\x01",
            b"\x3a\x01r",
        ]
    )
    assert health["HealthCheckResponse"](status=1).SerializeToString() == b"\x08\x01"
