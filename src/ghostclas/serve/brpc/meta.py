"""The meta of a ``baidu_std`` frame: what is called, how its bytes are packed, and what became of it.

The field numbers are those of bRPC's ``baidu_rpc_meta.proto``, up to bRPC 1.17, which always sends the
fields 10 to 12.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ghostclas.serve.protos import define

NONE, SNAPPY, GZIP, ZLIB = range(4)
"""The compressions of a message that bRPC has numbers for, without LZ4, which it does not implement."""

CRC32C = 1
"""The one kind of checksum."""

PROTOCOL_BUFFERS = 0
"""The one content type that is taken; bRPC numbers JSON and text too."""

_MESSAGES = define(
    "brpc/baidu_rpc_meta.proto",
    "brpc.policy",
    {
        "RpcRequestMeta": {
            "service_name": "1 string",
            "method_name": "2 string",
            "log_id": "3 int64",
            "request_id": "7 string",
            "timeout_ms": "8 int32",
        },
        "RpcResponseMeta": {"error_code": "1 int32", "error_text": "2 string"},
        "RpcMeta": {
            "request": "1 RpcRequestMeta",
            "response": "2 RpcResponseMeta",
            "compress_type": "3 int32",
            "correlation_id": "4 int64",
            "attachment_size": "5 int32",
            "authentication_data": "7 bytes",
            "user_fields": "9 map<string, string>",
            "content_type": "10 int32",
            "checksum_type": "11 int32",
            "checksum_value": "12 bytes",
            "checksum_with_attachment": "13 bool",
        },
    },
)
_RpcMeta = _MESSAGES["RpcMeta"]


class MetaError(Exception):
    """A meta that is no such message. Without it nobody knows which call failed: the connection is closed."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a client's meta says of its call. ``timeout_ms`` is 0 where the client did not say."""

    service: str
    method: str
    correlation_id: int
    compress: int
    attachment_size: int
    authentication: bytes
    content_type: int
    checksum_type: int
    checksum: bytes
    checksum_with_attachment: bool
    log_id: int
    request_id: str
    timeout_ms: int
    traceparent: str


def read_call(data: bytes) -> Call:
    """Return what a client's meta says. Stream settings (field 8) are passed over: no call here has a stream.

    Raises:
        MetaError: these bytes are no meta.
    """
    meta = _RpcMeta()
    try:
        meta.ParseFromString(data)
    except DecodeError as error:
        raise MetaError(f"{len(data)} bytes are no meta: {error}") from None
    request = meta.request
    return Call(
        service=request.service_name,
        method=request.method_name,
        correlation_id=meta.correlation_id,
        compress=meta.compress_type,
        attachment_size=meta.attachment_size,
        authentication=meta.authentication_data,
        content_type=meta.content_type,
        checksum_type=meta.checksum_type,
        checksum=meta.checksum_value,
        checksum_with_attachment=meta.checksum_with_attachment,
        log_id=request.log_id,
        request_id=request.request_id,
        timeout_ms=request.timeout_ms,
        traceparent=meta.user_fields.get("traceparent", ""),
    )


def write_answer(correlation_id: int, *, code: int = 0, text: str = "", checksum: bytes = b"") -> bytes:
    """Return the meta of an answer: what became of the call of this id. ``code`` 0 is success."""
    meta = _RpcMeta(correlation_id=correlation_id, checksum_value=checksum)
    meta.response.error_code = code
    meta.response.error_text = text
    meta.response.SetInParent()
    meta.checksum_type = CRC32C if checksum else 0
    return bytes(meta.SerializeToString())
