"""A client that knows no service: ``generic.py PORT IMAGE`` learns all by reflection, and calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

port, path = sys.argv[1:]
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
database = ProtoReflectionDescriptorDatabase(channel)
pool = descriptor_pool.DescriptorPool(database)


def call(service: str, method: str, **fields: Any) -> Any:
    """Call a method with a message of these fields."""
    described = pool.FindServiceByName(service).FindMethodByName(method)
    request = message_factory.GetMessageClass(described.input_type)(**fields)
    answer = message_factory.GetMessageClass(described.output_type)
    return channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )(request)


inference = "inference.GRPCInferenceService"
one = {"name": "encoded", "datatype": "BYTES", "shape": [1]}
answer = call(
    inference,
    "ModelInfer",
    model_name="default",
    inputs=[{**one, "contents": {"bytes_contents": [Path(path).read_bytes()]}}],
    outputs=[{"name": "scores"}],
)
health = health_pb2_grpc.HealthStub(channel)
print(
    json.dumps(
        {
            "services": sorted(database.get_services()),
            "live": call(inference, "ServerLive").live,
            "scores": list(answer.outputs[0].contents.fp32_contents),
            "health": health.Check(health_pb2.HealthCheckRequest(service=inference)).status,
            "watched": next(iter(health.Watch(health_pb2.HealthCheckRequest()))).status,
        }
    )
)
