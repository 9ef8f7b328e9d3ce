"""Paddle Serving's ``GeneralModelService``: its request and answer, as protocol buffers and as JSON.

The field numbers are those of Paddle Serving 0.9's ``general_model_service.proto``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.limits import Limits
from ghostclas.serve.model import ServedModel
from ghostclas.serve.open_inference import SCORES as SCORES_OUTPUT
from ghostclas.serve.open_inference import Output, logits_of, output_of
from ghostclas.serve.paddle import pictures
from ghostclas.serve.protos import define
from ghostclas.serve.service import Answer, Service

PACKAGE = "baidu.paddle_serving.predictor.general_model"
SERVICE = f"{PACKAGE}.GeneralModelService"
METHOD = "inference"

FLOAT32, FLOAT16, UINT8, INT8, STRING = 1, 5, 7, 8, 20
"""The element types that can hold a picture."""

FEEDS = ("inputs", "x", "image", "images")
"""What a picture is called, by its name or its alias."""

SCORES, LOGITS = ("prediction", "scores"), ("logits",)
"""What an answer is called; a name that Paddle gave to the last layer means the scores, too."""

_AXES = 3
"""Of one picture."""

_PADDLE_NAMES = ("save_infer_model/", "softmax_")
_ENGINE = "general_infer_0"

_TENSOR = {
    "int64_data": "1 repeated int64",
    "float_data": "2 repeated float",
    "int_data": "3 repeated int32",
    "float64_data": "4 repeated double",
    "uint32_data": "5 repeated uint32",
    "bool_data": "6 repeated bool",
    "complex64_data": "7 repeated float",
    "complex128_data": "8 repeated double",
    "data": "9 repeated string",
    "elem_type": "10 int32",
    "shape": "11 repeated int32",
    "lod": "12 repeated int32",
    "name": "13 string",
    "alias_name": "14 string",
    "tensor_content": "15 bytes",
}
_MESSAGES = define(
    "general_model_service.proto",
    PACKAGE,
    {
        "Tensor": _TENSOR,
        "Request": {
            "tensor": "1 repeated Tensor",
            "fetch_var_names": "2 repeated string",
            "profile_server": "3 bool",
            "log_id": "4 uint64",
        },
        "ModelOutput": {"tensor": "1 repeated Tensor", "engine_name": "2 string"},
        "Response": {
            "outputs": "1 repeated ModelOutput",
            "profile_time": "2 repeated int64",
            "profile_server": "3 bool",
            "log_id": "4 uint64",
            "err_no": "5 int32",
            "err_msg": "6 string",
        },
    },
    services={"GeneralModelService": {METHOD: ("Request", "Response")}},
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a request. The element type says which of ``strings``, ``floats``, ``content`` counts."""

    names: tuple[str, str]
    elem_type: int
    shape: tuple[int, ...]
    strings: Sequence[str]
    floats: NDArray[np.float32]
    content: bytes


@dataclass(frozen=True, slots=True)
class Feed:
    """A request: its tensors, and the names of what it fetches."""

    tensors: Sequence[Tensor]
    fetch: Sequence[str]
    log_id: int


def read_message(data: bytes) -> Feed:
    """Return the request that a message holds.

    Raises:
        ServeError: INVALID; the bytes are no such message.
    """
    message = _MESSAGES["Request"]()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise pictures.invalid(f"the message is no GeneralModelService request: {error}") from None
    return Feed(
        tensors=[
            Tensor(
                names=(tensor.name, tensor.alias_name),
                elem_type=tensor.elem_type,
                shape=tuple(tensor.shape),
                strings=tensor.data,
                floats=np.array(tensor.float_data, dtype=np.float32),
                content=tensor.tensor_content,
            )
            for tensor in message.tensor
        ],
        fetch=list(message.fetch_var_names),
        log_id=message.log_id,
    )


def read_json(document: Mapping[str, Any]) -> Feed:
    """Return the request that a JSON object holds; ``tensor_content`` is base64 there.

    Raises:
        ServeError: INVALID; it is no such object.
    """
    known = {"tensor", "fetch_var_names", "profile_server", "log_id"}
    if unknown := sorted(document.keys() - known):
        raise pictures.invalid(
            f"the request has no field {unknown[0][:100]!r}; there are {', '.join(sorted(known))}"
        )
    tensors = _list_of(document, "tensor", dict)
    return Feed(
        tensors=[_tensor_of_json(tensor, f"tensor[{place}]") for place, tensor in enumerate(tensors)],
        fetch=_list_of(document, "fetch_var_names", str),
        log_id=_whole(document, "log_id"),
    )


def _tensor_of_json(tensor: Mapping[str, Any], where: str) -> Tensor:
    if unknown := sorted(tensor.keys() - _TENSOR.keys()):
        raise pictures.invalid(f"{where} has no field {unknown[0][:100]!r}")
    names = tensor.get("name", ""), tensor.get("alias_name", "")
    content = tensor.get("tensor_content", "")
    if not all(isinstance(text, str) for text in (*names, content)):
        raise pictures.invalid(f"{where}: name, alias_name and tensor_content are strings")
    try:
        with np.errstate(over="ignore"):
            values = np.array(_list_of(tensor, "float_data", (int, float)), dtype=np.float64)
            floats = values.astype(np.float32)
    except OverflowError:
        raise pictures.invalid(f"{where}: float_data has a number that is no float") from None
    return Tensor(
        names=names,
        elem_type=_whole(tensor, "elem_type"),
        shape=tuple(_list_of(tensor, "shape", int)),
        strings=_list_of(tensor, "data", str),
        floats=floats,
        content=pictures.file_of(content, f"{where}: tensor_content"),
    )


def _list_of(document: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> list[Any]:
    values = document.get(key, [])
    if not isinstance(values, list) or not all(
        isinstance(v, kind) and not isinstance(v, bool) for v in values
    ):
        raise pictures.invalid(f"{key} is a list of {getattr(kind, '__name__', 'number')}")
    return values


def _whole(document: Mapping[str, Any], key: str) -> int:
    value = document.get(key, 0)
    if type(value) is not int or not 0 <= value < 2**64:
        raise pictures.invalid(f"{key} is a whole number from 0 to 2^64 - 1")
    return value


def images_of(feed: Feed, model: ServedModel, limits: Limits) -> pictures.Images:
    """Return the images of a request: files, or pixels uint8 ``[N, side, side, 3]``.

    Raises:
        ServeError: INVALID, UNSUPPORTED or TOO_LARGE.
    """
    if len(feed.tensors) != 1:
        raise pictures.invalid(f"a request feeds one tensor, got {len(feed.tensors)}")
    (tensor,) = feed.tensors
    if not set(tensor.names) & {*FEEDS, model.name}:
        shown = " or ".join(repr(name[:100]) for name in tensor.names if name) or "a tensor without a name"
        raise pictures.invalid(f"no input is called {shown}; feed one of {', '.join(FEEDS)}")
    read = _READERS.get(tensor.elem_type)
    if read is None:
        raise ServeError(
            Kind.UNSUPPORTED,
            f"elem_type {tensor.elem_type} holds no picture: use 20 (base64 of a file), 7 (bytes of a file "
            "or pixels), 1 or 5 (normalised planes)",
        )
    return read(tensor, model, limits)


def _files(tensor: Tensor, model: ServedModel, limits: Limits) -> Sequence[bytes]:
    if len(tensor.strings) > limits.request_images:
        raise ServeError(Kind.TOO_LARGE, f"at most {limits.request_images} images, got {len(tensor.strings)}")
    return [pictures.file_of(text, f"data[{place}]") for place, text in enumerate(tensor.strings)]


def _bytes(tensor: Tensor, model: ServedModel, limits: Limits) -> pictures.Images:
    """With three axes or more these are pixels; with fewer a file, whose shape says nothing."""
    if len(tensor.shape) < _AXES:
        return [tensor.content]
    shape = _batch_of(tensor, 1, limits)
    return np.frombuffer(tensor.content, dtype=np.uint8).reshape(shape)


def _floats(tensor: Tensor, model: ServedModel, limits: Limits) -> NDArray[np.uint8]:
    count = pictures.check_size(tensor.shape, 4, limits.tensor_bytes)
    if count != len(tensor.floats):
        raise pictures.invalid(
            f"shape {list(tensor.shape)[:9]} has {count} numbers, float_data {len(tensor.floats)}"
        )
    planes = tensor.floats.reshape(tensor.shape)
    return pictures.pixels_of(planes[None] if planes.ndim == _AXES else planes, model)


def _halves(tensor: Tensor, model: ServedModel, limits: Limits) -> NDArray[np.uint8]:
    shape = _batch_of(tensor, 2, limits)
    halves = np.frombuffer(tensor.content, dtype="<f2").astype(np.float32)
    return pictures.pixels_of(halves.reshape(shape), model)


def _batch_of(tensor: Tensor, item_bytes: int, limits: Limits) -> tuple[int, int, int, int]:
    """Return the shape of ``tensor_content``, with the number of pictures before the three axes of one.

    Paddle's client sends the shape of its configuration, which has one picture, for as many as there are.
    """
    *lead, one, two, three = tensor.shape if len(tensor.shape) >= _AXES else (0, 0, 0)
    size = item_bytes * pictures.check_size((one, two, three), item_bytes, limits.tensor_bytes)
    count, rest = divmod(len(tensor.content), size) if size else (0, 1)
    if rest or len(lead) > 1 or (lead and lead[0] not in (-1, count)):
        raise pictures.invalid(
            f"tensor_content has {len(tensor.content)} bytes, which are no pictures of shape "
            f"{list(tensor.shape)[:9]}"
        )
    return count, one, two, three


_READERS: Mapping[int, Callable[[Tensor, ServedModel, Limits], pictures.Images]] = {
    FLOAT32: _floats,
    FLOAT16: _halves,
    UINT8: _bytes,
    INT8: _bytes,
    STRING: _files,
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched: of each name, in the order of the request, float32 ``[N, C]``."""

    outputs: Sequence[tuple[str, NDArray[np.float32]]]
    log_id: int
    answer: Answer


async def infer(service: Service, feed: Feed, ask: pictures.Ask) -> Fetched:
    """Answer a request by the first model.

    Raises:
        ServeError: see ``Kind``.
    """
    model = service.model()
    names = feed.fetch or SCORES[:1]
    for name in names:
        if name not in (*SCORES, *LOGITS) and not name.startswith(_PADDLE_NAMES):
            raise pictures.invalid(
                f"no output is called {name[:100]!r}; fetch {SCORES[0]!r} or {LOGITS[0]!r}"
            )
    answer = await ask(images_of(feed, model, service.limits), model.name)
    logits = logits_of(answer)
    scores = output_of(answer, logits, Output(SCORES_OUTPUT))
    return Fetched([(name, logits if name in LOGITS else scores) for name in names], feed.log_id, answer)


def write_message(fetched: Fetched) -> bytes:
    """Return the answer as a message."""
    response = _MESSAGES["Response"](log_id=fetched.log_id)
    output = response.outputs.add(engine_name=_ENGINE)
    for name, values in fetched.outputs:
        output.tensor.add(
            elem_type=FLOAT32,
            shape=values.shape,
            name=name,
            alias_name=name,
            float_data=values.ravel().tolist(),
        )
    return bytes(response.SerializeToString())


def to_json(fetched: Fetched) -> dict[str, Any]:
    """Return the answer as a JSON object."""
    return {
        "outputs": [
            {
                "tensor": [
                    {
                        "float_data": values.ravel().tolist(),
                        "elem_type": FLOAT32,
                        "shape": list(values.shape),
                        "name": name,
                        "alias_name": name,
                    }
                    for name, values in fetched.outputs
                ],
                "engine_name": _ENGINE,
            }
        ],
        "log_id": fetched.log_id,
        "err_no": 0,
        "err_msg": "",
    }
