"""A client of ``baidu_std`` written from the format alone. It shares no code with the server."""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

SERVICE = "baidu.paddle_serving.predictor.general_model.GeneralModelService"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """Return a number, seven bits a byte, the lowest first; a negative one as its 64-bit complement."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | str | bytes) -> bytes:
    """Return one field of a message; bytes may be a message, a string or packed numbers."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def decode(data: bytes) -> dict[int, list[int | bytes]]:
    """Return the values of each field of a message, in their order."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        tag = number()
        match tag & 7:
            case 0:
                fields.setdefault(tag >> 3, []).append(number())
            case 2:
                size = number()
                assert at + size <= len(data)
                fields.setdefault(tag >> 3, []).append(data[at : at + size])
                at += size
            case 5:
                fields.setdefault(tag >> 3, []).append(data[at : at + 4])
                at += 4
            case kind:
                raise AssertionError(f"wire type {kind}")
    return fields


def signed(value: int | bytes) -> int:
    """Return a varint as int64."""
    assert isinstance(value, int)
    return value - 2**64 if value >= 2**63 else value


def tensor(
    elem_type: int,
    *,
    shape: Sequence[int] = (),
    strings: Sequence[str | bytes] = (),
    floats: NDArray[np.float32] | None = None,
    content: bytes = b"",
    name: str = "x",
    alias: str = "inputs",
) -> bytes:
    """Return a Tensor message."""
    parts = [] if floats is None else [field(2, np.asarray(floats, "<f4").tobytes())]
    parts += [field(9, text) for text in strings]
    parts.append(field(10, elem_type))
    parts.append(field(11, b"".join(map(varint, shape))))
    parts += [field(13, name), field(14, alias)]
    if content:
        parts.append(field(15, content))
    return b"".join(parts)


def request(*tensors: bytes, fetch: Sequence[str] = ("prediction",), log_id: int = 0) -> bytes:
    """Return a Request message."""
    parts = [field(1, one) for one in tensors] + [field(2, name) for name in fetch]
    return b"".join([*parts, field(4, log_id)])


def picture(image: bytes, **options: Any) -> bytes:
    """Return the request that PaddleClas' C++ client sends for an image file."""
    return request(tensor(20, shape=(1,), strings=[base64.b64encode(image)]), **options)


def meta(
    correlation_id: int,
    *,
    service: str = SERVICE,
    method: str = "inference",
    compress: int = 0,
    attachment: int = 0,
    timeout_ms: int = 0,
    token: bytes = b"",
    extra: bytes = b"",
    request_id: str = "",
    user_fields: Mapping[str, str] | None = None,
) -> bytes:
    """Return an RpcMeta of a request as bRPC writes it; ``extra`` is more fields."""
    asked = field(1, service) + field(2, method)
    if request_id:
        asked += field(7, request_id)
    if timeout_ms:
        asked += field(8, timeout_ms)
    parts = [field(1, asked), field(3, compress), field(4, correlation_id)]
    if attachment:
        parts.append(field(5, attachment))
    if token:
        parts.append(field(7, token))
    for key, value in (user_fields or {}).items():
        parts.append(field(9, field(1, key) + field(2, value)))
    return b"".join([*parts, extra])


def frame(header: bytes, body: bytes = b"") -> bytes:
    """Return a frame."""
    return struct.pack(">4sII", b"PRPC", len(header) + len(body), len(header)) + header + body


@dataclass(frozen=True)
class Reply:
    """An answer. ``outputs`` are the fetched arrays by alias name, in order."""

    code: int
    text: str
    correlation_id: int
    message: bytes
    meta: dict[int, list[int | bytes]]

    @property
    def outputs(self) -> dict[str, NDArray[np.float32]]:
        """The arrays of ``outputs[0]``."""
        (output,) = decode(self.message)[1]
        assert isinstance(output, bytes)
        arrays = {}
        for one in decode(output)[1]:
            assert isinstance(one, bytes)
            parts = decode(one)
            shape, data = parts[11][0], parts[2][0]
            assert isinstance(shape, bytes)
            assert isinstance(data, bytes)
            assert parts[10] == [1]
            name = parts[14][0]
            assert isinstance(name, bytes)
            arrays[name.decode()] = np.frombuffer(data, "<f4").reshape(unpacked(shape))
        return arrays


def unpacked(data: bytes) -> list[int]:
    """Return packed varints."""
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    return values


class Client:
    """One connection, which blocks.

    ``receive_buffer`` is the kernel's, in bytes. It is set before connecting: where a window shrinks later,
    Linux drops segments beyond it and the acknowledgements in them, and neither side goes on.
    """

    def __init__(
        self, port: int, timeout: float = 60.0, wrap: Any = None, receive_buffer: int | None = None
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        if wrap is not None:
            self.socket = wrap(self.socket)

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.socket.sendall(data)

    def receive(self) -> Reply:
        """Wait for one answer."""
        magic, size, meta_size = struct.unpack(">4sII", self._exactly(12))
        assert magic == b"PRPC"
        assert meta_size <= size
        header = decode(self._exactly(meta_size))
        message = self._exactly(size - meta_size)
        response = header[2][0]
        assert isinstance(response, bytes)
        became = decode(response)
        text = became.get(2, [b""])[0]
        assert isinstance(text, bytes)
        return Reply(
            code=signed(became.get(1, [0])[0]),
            text=text.decode(),
            correlation_id=signed(header.get(4, [0])[0]),
            message=message,
            meta=header,
        )

    def call(self, message: bytes, correlation_id: int = 1, attachment: bytes = b"", **options: Any) -> Reply:
        """Call and wait for the answer."""
        header = meta(correlation_id, attachment=len(attachment), **options)
        self.send(frame(header, message + attachment))
        return self.receive()

    def ended(self) -> bool:
        """Wait for the server to close the connection; whether it did so without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError(f"the server closed the connection after {len(data)} of {size} bytes")
            data += piece
        return bytes(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
