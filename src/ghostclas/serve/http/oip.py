"""The Open Inference Protocol v2 over HTTP: https://github.com/kserve/open-inference-protocol.

Health, metadata of the server and of each model and version, and inference, in JSON or with the binary tensor
extension. What would load a model or read another process's memory is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import ghostclas
from ghostclas.serve import open_inference as protocol
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.http.bodies import parse_json
from ghostclas.serve.http.calls import Call
from ghostclas.serve.http.responses import Response, json_response
from ghostclas.serve.http.tensors import (
    HEADER_LENGTH,
    binary_size,
    elements_of,
    elements_of_json,
    pixels_of,
    pixels_of_json,
    split_body,
    to_binary,
    to_list,
)
from ghostclas.serve.open_inference import Output, invalid
from ghostclas.serve.service import Answer

_BINARY = b"application/octet-stream"
_MICROSECONDS = 1e6


class _Wanted(NamedTuple):
    """What an inference request asks for."""

    images: Sequence[bytes] | NDArray[np.uint8]
    outputs: Sequence[Output]
    id: str | None
    timeout: float | None


async def live(call: Call) -> Response:
    """Answer that the process lives."""
    return json_response({"live": True})


async def ready(call: Call) -> Response:
    """Answer whether requests are answered."""
    if not call.site.service.ready:
        return json_response({"ready": False, "error": "the server is not ready"}, status=503)
    return json_response({"ready": True})


async def server_metadata(call: Call) -> Response:
    """Name the server and the extensions it speaks."""
    return json_response(
        {"name": "ghostclas", "version": ghostclas.__version__, "extensions": list(protocol.EXTENSIONS)}
    )


async def model_metadata(call: Call, name: str, version: str | None = None) -> Response:
    """Describe a model's tensors."""
    model = call.site.service.model(name, version)
    return json_response(
        {
            "name": model.name,
            "versions": [model.version],
            "platform": protocol.PLATFORM,
            "inputs": [_described(tensor) for tensor in protocol.inputs_of(model)],
            "outputs": [_described(tensor) for tensor in protocol.outputs_of(model)],
            "parameters": dict(protocol.properties_of(model)),
        }
    )


async def model_ready(call: Call, name: str, version: str | None = None) -> Response:
    """Answer whether a model answers requests."""
    model = call.site.service.model(name, version)
    if not call.site.service.ready:
        return json_response(
            {"name": model.name, "ready": False, "error": "the server is not ready"}, status=503
        )
    return json_response({"name": model.name, "ready": True})


async def refused(call: Call, *parts: str) -> Response:
    """Refuse what a client must not do here."""
    raise ServeError(
        Kind.UNSUPPORTED,
        "models are loaded when the server starts, and tensors come with their request: "
        "no repository, shared memory, trace, log or statistics extension is served",
    )


async def infer(call: Call, name: str, version: str | None = None) -> Response:
    """Answer the images of a request with tensors."""
    call.site.service.model(name, version)
    body = await call.body()
    wanted = await call.aside(len(body), _read, call, name, version, body)
    answer = await call.answer(wanted.images, name, version, wanted.timeout)
    return _written(answer, wanted)


def _described(tensor: protocol.Tensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _read(call: Call, name: str, version: str | None, body: bytes) -> _Wanted:
    model = call.site.service.model(name, version)
    limits = call.site.limits
    text, binary = split_body(body, call.header(HEADER_LENGTH))
    request = parse_json(text, limits)
    identifier = request.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise invalid(f"id is a string, got {type(identifier).__name__}")
    parameters = _parameters("the request", request)
    inputs = _objects("inputs", request.get("inputs"))
    protocol.check_inputs([_name("inputs", one) for one in inputs])
    (one,) = inputs
    tensor, shape = _name("inputs", one), one.get("shape")
    if not isinstance(shape, list):
        raise invalid(f"input {tensor!r}: shape is a list, got {type(shape).__name__}")
    datatype = one.get("datatype")
    if not isinstance(datatype, str):
        raise invalid(f"input {tensor!r}: datatype is a string, got {type(datatype).__name__}")
    count = protocol.check_input(
        model, tensor, datatype, shape, images=limits.request_images, bytes_=limits.tensor_bytes
    )
    size = _parameters(f"input {tensor!r}", one).get("binary_data_size")
    if size is not None:
        size = binary_size(tensor, size)
        if "data" in one:
            raise invalid(f"input {tensor!r} has both data and binary_data_size")
        if size != len(binary):
            raise invalid(
                f"input {tensor!r}: binary_data_size is {size}, and {len(binary)} bytes follow the JSON"
            )
    else:
        if len(binary):
            raise invalid(f"{len(binary)} bytes follow the JSON, and no input has a binary_data_size")
        if "data" not in one:
            raise invalid(f"input {tensor!r} has neither data nor binary_data_size")
    images: Sequence[bytes] | NDArray[np.uint8]
    match tensor, size:
        case (protocol.PIXELS, None):
            images = pixels_of_json(tensor, shape, one["data"])
        case (protocol.PIXELS, _):
            images = pixels_of(tensor, shape, binary)
        case (_, None):
            images = elements_of_json(tensor, count, one["data"])
        case _:
            images = elements_of(tensor, count, binary)
    return _Wanted(images, _outputs(request, parameters), identifier, _timeout(parameters))


def _outputs(request: Mapping[str, Any], parameters: Mapping[str, Any]) -> Sequence[Output]:
    all_binary = _flag("the request", parameters, "binary_data_output") or False
    if request.get("outputs") is None:
        return [Output(name, binary=all_binary) for name in protocol.OUTPUTS]
    outputs = []
    for one in _objects("outputs", request["outputs"]):
        name = _name("outputs", one)
        where = f"output {name!r}"
        asked = _parameters(where, one)
        binary = _flag(where, asked, "binary_data")
        classification = asked.get("classification")
        if classification is not None and type(classification) is not int:
            raise invalid(f"{where}: classification is a whole number, got {str(classification)[:40]!r}")
        outputs.append(Output(name, classification, all_binary if binary is None else binary))
    return protocol.check_outputs(outputs) or [Output(name, binary=all_binary) for name in protocol.OUTPUTS]


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Return the seconds of Triton's parameter ``timeout``, which counts microseconds; 0 is none."""
    timeout = parameters.get("timeout")
    if timeout in (None, 0):
        return None
    if type(timeout) is not int or timeout < 0:
        raise invalid(f"timeout is a whole number of microseconds, got {str(timeout)[:40]!r}")
    return timeout / _MICROSECONDS


def _objects(where: str, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise invalid(f"{where} is a list of objects")
    return value


def _name(where: str, tensor: Mapping[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str):
        raise invalid(f"each of the {where} has a name, a string")
    return name[:100]


def _parameters(where: str, owner: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise invalid(f"{where}: parameters is an object")
    for name, value in parameters.items():
        if not isinstance(value, str | int | float | bool):
            raise invalid(f"{where}: parameter {name[:100]!r} is a string, a number or a boolean")
    protocol.check_parameters(where, parameters)
    return parameters


def _flag(where: str, parameters: Mapping[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{where}: {name} is true or false")
    return value


def _written(answer: Answer, wanted: _Wanted) -> Response:
    logits = protocol.logits_of(answer)
    described: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in wanted.outputs:
        values = protocol.output_of(answer, logits, output)
        one: dict[str, Any] = {
            "name": output.name,
            "datatype": "BYTES" if output.classification else "FP32",
            "shape": list(values.shape),
        }
        if output.binary:
            data = to_binary(values)
            one["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            one["data"] = to_list(values)
        described.append(one)
    head: dict[str, Any] = {"model_name": answer.model.name, "model_version": answer.model.version}
    if wanted.id is not None:
        head["id"] = wanted.id
    response = json_response({**head, "outputs": described})
    if not tail:
        return response
    headers = ((HEADER_LENGTH, b"%d" % len(response.body)),)
    return Response(b"".join([response.body, *tail]), content_type=_BINARY, headers=headers)
