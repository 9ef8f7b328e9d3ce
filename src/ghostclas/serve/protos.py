"""Protocol buffers described by tables and built at run time, in one pool of our own.

Generated modules register themselves in protobuf's default pool, where the same message from another package
(tritonclient's, kserve's) is an error, and each needs the protobuf release that generated it. Tables work
beside every client, and with every protobuf from 4.21 on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Fields = Mapping[str, str]
"""By name ``"NUMBER [repeated] TYPE"``, ``"NUMBER map<KEY, TYPE>"`` or ``"NUMBER TYPE in ONEOF"``.

A type is a scalar or the dotted name of a message or enumeration of the same package.
"""

Methods = Mapping[str, tuple[str, str]]
"""By name the types of request and answer, each with ``stream`` before it if it is one."""

POOL = descriptor_pool.DescriptorPool()
"""Every message of the server, and nothing of anybody else."""

FILES: dict[str, bytes] = {}
"""Of each file that was defined, by name, its serialized ``FileDescriptorProto``."""

SERVICES: dict[str, str] = {}
"""Of each service that was defined, by full name, its file."""

_SCALARS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("double", "float", "int64", "uint64", "int32", "bool", "string", "bytes", "uint32")
}
_FIELD = re.compile(
    r"(?P<number>\d+) (?:map<(?P<key>\w+), (?P<value>[\w.]+)>|(?P<repeated>repeated )?(?P<type>[\w.]+))"
    r"(?: in (?P<oneof>\w+))?"
)


def define(
    file: str,
    package: str,
    messages: Mapping[str, Fields],
    *,
    enums: Mapping[str, Sequence[str]] | None = None,
    services: Mapping[str, Methods] | None = None,
) -> dict[str, Any]:
    """Add one file of proto3 messages to the pool, and return the class of each message.

    Args:
        file: the name of the file, which reflection tells.
        package: what all its names begin with.
        messages: the fields of each message; a nested one has a dotted name and follows its parent.
        enums: the values of each enumeration, from 0 on.
        services: the methods of each service.
    """
    enums, services = enums or {}, services or {}
    described = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in messages.items():
        parent, _, short = name.rpartition(".")
        made[name] = (made[parent].nested_type if parent else described.message_type).add(name=short)
        for field, text in fields.items():
            _add_field(made[name], f".{package}.", name, field, text, enums)
    for name, values in enums.items():
        parent, _, short = name.rpartition(".")
        enum = (made[parent] if parent else described).enum_type.add(name=short)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, methods in services.items():
        service = described.service.add(name=name)
        for method, (request, answer) in methods.items():
            service.method.add(
                name=method,
                input_type=f".{package}.{request.removeprefix('stream ')}",
                output_type=f".{package}.{answer.removeprefix('stream ')}",
                client_streaming=request.startswith("stream "),
                server_streaming=answer.startswith("stream "),
            )
        SERVICES[f"{package}.{name}"] = file
    FILES[file] = described.SerializeToString()
    POOL.AddSerializedFile(FILES[file])
    return {name: _class(f"{package}.{name}") for name in messages}


def _add_field(message: Any, prefix: str, owner: str, name: str, text: str, enums: Mapping[str, Any]) -> None:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError(f"{owner}.{name}: {text!r} is no field")
    field = message.field.add(name=name, number=int(match["number"]))
    repeated = bool(match["repeated"] or match["key"])
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if match["key"]:
        # A map is a repeated message of pairs.
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for number, (part, kind) in enumerate((("key", match["key"]), ("value", match["value"])), start=1):
            pair = entry.field.add(name=part, number=number, label=field.LABEL_OPTIONAL)
            _set_type(pair, prefix, kind, enums)
        _set_type(field, prefix, f"{owner}.{entry.name}", enums)
    else:
        _set_type(field, prefix, match["type"], enums)
    if match["oneof"]:
        known = [oneof.name for oneof in message.oneof_decl]
        if match["oneof"] not in known:
            message.oneof_decl.add(name=match["oneof"])
            known.append(match["oneof"])
        field.oneof_index = known.index(match["oneof"])


def _set_type(field: Any, prefix: str, kind: str, enums: Mapping[str, Any]) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = field.TYPE_ENUM if kind in enums else field.TYPE_MESSAGE
        field.type_name = prefix + kind


def _class(name: str) -> Any:
    described = POOL.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(described)
    factory: Any = message_factory.MessageFactory(POOL)  # protobuf before 4.22
    return factory.GetPrototype(described)
