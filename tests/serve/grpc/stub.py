"""A gRPC client of the inference service, for requests that no ordinary client sends."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from ghostclas.serve.grpc.messages import INFERENCE, inference
from tests.serve.served import SECONDS

Bytes = bytes


class Stub:
    """One channel. Methods take and give messages, or bytes as they are."""

    def __init__(self, port: int, *, channel: grpc.Channel | None = None) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        # Channels of one address share a connection otherwise.
        options.append(("grpc.use_local_subchannel_pool", 1))
        self.channel = channel or grpc.insecure_channel(f"127.0.0.1:{port}", options)

    def raw(self, method: str, data: bytes, **options: Any) -> bytes:
        """Call a method by its full name with any bytes."""
        call = self.channel.unary_unary(f"/{method}")
        answer: bytes = call(data, timeout=options.pop("timeout", SECONDS), **options)
        return answer

    def call(self, name: str, message: Any = None, **options: Any) -> Any:
        """Call a method of the inference service."""
        if message is None:
            message = inference[f"{name}Request"]()
        data = self.raw(f"{INFERENCE}/{name}", message.SerializeToString(), **options)
        return inference[f"{name}Response"].FromString(data)

    def infer(self, *args: Any, timeout: float = SECONDS, metadata: Any = None, **options: Any) -> Any:
        """Infer with the arguments of ``infer_request``."""
        return self.call("ModelInfer", infer_request(*args, **options), timeout=timeout, metadata=metadata)

    def refused(self, call: Callable[[], object]) -> tuple[str, str]:
        """Return the status and the message of a call that fails."""
        try:
            answered = call()
        except grpc.RpcError as error:
            return error.code().name, error.details()
        raise AssertionError(f"answered: {answered!r}"[:500])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.channel.close()


def elements(*values: bytes) -> bytes:
    """Return BYTES elements as raw contents: a little-endian uint32 length before each."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def infer_request(
    *images: bytes,
    name: str = "encoded",
    datatype: str = "BYTES",
    shape: Sequence[int] | None = None,
    raw: bytes | None = None,
    outputs: Sequence[str] = (),
    model: str = "default",
    **fields: Any,
) -> Any:
    """Return a ModelInferRequest of image files; ``raw`` stands in for their bytes."""
    request = inference["ModelInferRequest"](model_name=model, **fields)
    request.inputs.add(name=name, datatype=datatype, shape=[len(images)] if shape is None else shape)
    request.raw_input_contents.append(elements(*images) if raw is None else raw)
    for output in outputs:
        request.outputs.add(name=output)
    return request


def array_of(response: Any, name: str) -> NDArray[np.float32]:
    """Return a float output of a response, however it came."""
    (place,) = (place for place, output in enumerate(response.outputs) if output.name == name)
    output = response.outputs[place]
    assert output.datatype == "FP32"
    if response.raw_output_contents:
        values = np.frombuffer(response.raw_output_contents[place], "<f4")
    else:
        values = np.array(output.contents.fp32_contents, np.float32)
    return values.reshape(tuple(output.shape))
