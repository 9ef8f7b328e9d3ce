"""The Open Inference Protocol v2 in gRPC's messages; what the tensors are is in ``serve.open_inference``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ghostclas
from ghostclas.serve import open_inference as oip
from ghostclas.serve.grpc.calls import Call, parsed
from ghostclas.serve.grpc.messages import inference
from ghostclas.serve.http.tensors import elements_of, pixels_of, to_binary
from ghostclas.serve.limits import Limits
from ghostclas.serve.model import ServedModel
from ghostclas.serve.open_inference import Output, invalid
from ghostclas.serve.service import Answer, Service

_MICROSECONDS = 1e6
_CONTENTS = {oip.PIXELS: "uint_contents", oip.ENCODED: "bytes_contents"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an inference request asks for; ``raw`` tells how its tensors came, and how the answer's go."""

    model: str
    version: str
    id: str
    images: Sequence[bytes] | NDArray[np.uint8]
    outputs: Sequence[Output]
    raw: bool
    timeout: float | None


async def server_live(call: Call, data: bytes) -> bytes:
    """Answer that the process lives."""
    parsed(inference["ServerLiveRequest"], data)
    return _written("ServerLiveResponse", live=True)


async def server_ready(call: Call, data: bytes) -> bytes:
    """Answer whether requests are answered."""
    parsed(inference["ServerReadyRequest"], data)
    return _written("ServerReadyResponse", ready=call.service.ready)


async def model_ready(call: Call, data: bytes) -> bytes:
    """Answer whether a model answers requests.

    Raises:
        ServeError: NOT_FOUND; there is no such model.
    """
    request = parsed(inference["ModelReadyRequest"], data)
    call.service.model(request.name, request.version)
    return _written("ModelReadyResponse", ready=call.service.ready)


async def server_metadata(call: Call, data: bytes) -> bytes:
    """Name the server and the extensions it speaks."""
    parsed(inference["ServerMetadataRequest"], data)
    return _written(
        "ServerMetadataResponse",
        name="ghostclas",
        version=ghostclas.__version__,
        extensions=list(oip.EXTENSIONS),
    )


async def model_metadata(call: Call, data: bytes) -> bytes:
    """Describe a model's tensors.

    Raises:
        ServeError: NOT_FOUND; there is no such model.
    """
    request = parsed(inference["ModelMetadataRequest"], data)
    model = call.service.model(request.name, request.version)
    return _written(
        "ModelMetadataResponse",
        name=model.name,
        versions=[model.version],
        platform=oip.PLATFORM,
        inputs=[_described(tensor) for tensor in oip.inputs_of(model)],
        outputs=[_described(tensor) for tensor in oip.outputs_of(model)],
        properties=dict(oip.properties_of(model)),
    )


async def model_infer(call: Call, data: bytes) -> bytes:
    """Answer the images of a request with tensors.

    Raises:
        ServeError: see ``Kind``.
    """
    call.service.refuse_if_draining()
    wanted = await call.read(len(data), read_request, data, call.service)
    answer = await call.answer(wanted.images, wanted.model, wanted.version, wanted.timeout)
    return write_answer(answer, wanted)


METHODS: Mapping[str, Callable[[Call, bytes], Any]] = {
    "ServerLive": server_live,
    "ServerReady": server_ready,
    "ModelReady": model_ready,
    "ServerMetadata": server_metadata,
    "ModelMetadata": model_metadata,
    "ModelInfer": model_infer,
}
"""The methods of ``inference.GRPCInferenceService``."""


def read_request(data: bytes, service: Service) -> Wanted:
    """Return what a ``ModelInferRequest`` asks for.

    Raises:
        ServeError: INVALID, NOT_FOUND, TOO_LARGE or UNSUPPORTED.
    """
    request = parsed(inference["ModelInferRequest"], data)
    model = service.model(request.model_name, request.model_version)
    parameters = _parameters("the request", request)
    oip.check_inputs([one.name for one in request.inputs])
    (one,) = request.inputs
    _parameters(f"input {one.name[:100]!r}", one)
    images, raw = _images(request, one, model, service.limits)
    return Wanted(
        model=request.model_name,
        version=request.model_version,
        id=request.id,
        images=images,
        outputs=_outputs(request),
        raw=raw,
        timeout=_timeout(parameters),
    )


def write_answer(answer: Answer, wanted: Wanted) -> bytes:
    """Return the ``ModelInferResponse``.

    Raises:
        ServeError: INVALID; an image could not be read.
    """
    logits = oip.logits_of(answer)
    response = inference["ModelInferResponse"](
        model_name=answer.model.name, model_version=answer.model.version, id=wanted.id
    )
    for output in wanted.outputs:
        values = oip.output_of(answer, logits, output)
        datatype = "BYTES" if output.classification else "FP32"
        described = response.outputs.add(name=output.name, datatype=datatype, shape=values.shape)
        if wanted.raw:
            response.raw_output_contents.append(to_binary(values))
        elif output.classification:
            described.contents.bytes_contents.extend(values.ravel())
        else:
            described.contents.fp32_contents.extend(values.ravel().tolist())
    return bytes(response.SerializeToString())


def _written(message: str, /, **fields: Any) -> bytes:
    return bytes(inference[message](**fields).SerializeToString())


def _described(tensor: oip.Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _images(
    request: Any, one: Any, model: ServedModel, limits: Limits
) -> tuple[Sequence[bytes] | NDArray[np.uint8], bool]:
    shape = list(one.shape)
    count = oip.check_input(
        model, one.name, one.datatype, shape, images=limits.request_images, bytes_=limits.tensor_bytes
    )
    if not request.raw_input_contents:
        return _typed(one, shape, count), False
    if one.contents.ByteSize():
        raise invalid(f"input {one.name!r} has both contents and raw_input_contents")
    if len(request.raw_input_contents) != 1:
        raise invalid(f"there are {len(request.raw_input_contents)} raw_input_contents for one input")
    raw = memoryview(request.raw_input_contents[0])
    if one.name == oip.PIXELS:
        return pixels_of(one.name, shape, raw), True
    return elements_of(one.name, count, raw), True


def _typed(one: Any, shape: Sequence[int], count: int) -> Sequence[bytes] | NDArray[np.uint8]:
    wanted = _CONTENTS[one.name]
    filled = [field.name for field, _ in one.contents.ListFields()]
    if filled != [wanted]:
        given = " and ".join(filled) or "neither contents nor raw_input_contents"
        raise invalid(f"input {one.name!r} comes in {wanted}, got {given}")
    values = getattr(one.contents, wanted)
    size = count if one.name == oip.ENCODED else int(np.prod(shape, dtype=object))
    if len(values) != size:
        raise invalid(f"input {one.name!r}: shape {shape} has {size} elements, {wanted} {len(values)}")
    if one.name == oip.ENCODED:
        return list(values)
    levels = np.array(values, dtype=np.uint32)
    if levels.max(initial=0) > 255:
        raise invalid(f"input {one.name!r}: UINT8 data are from 0 to 255")
    return levels.astype(np.uint8).reshape(shape)


def _outputs(request: Any) -> Sequence[Output]:
    outputs = []
    for one in request.outputs:
        where = f"output {one.name[:100]!r}"
        asked = _parameters(where, one).get("classification")
        if asked is not None and type(asked) is not int:
            raise invalid(f"{where}: classification is a whole number, got {str(asked)[:40]!r}")
        outputs.append(Output(one.name, asked))
    return oip.check_outputs(outputs) or [Output(name) for name in oip.OUTPUTS]


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Return the seconds of Triton's parameter ``timeout``, which counts microseconds; 0 is none."""
    timeout = parameters.get("timeout")
    if timeout in (None, 0):
        return None
    if type(timeout) is not int or timeout < 0:
        raise invalid(f"timeout is a whole number of microseconds, got {str(timeout)[:40]!r}")
    return timeout / _MICROSECONDS


def _parameters(where: str, owner: Any) -> Mapping[str, Any]:
    values = {}
    for name, parameter in owner.parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise invalid(f"{where}: parameter {name[:100]!r} has no value")
        values[name] = getattr(parameter, choice)
    oip.check_parameters(where, values)
    return values
