"""Paddle Serving's pipeline, as PaddleClas' clients call it: keys and values in, label and probability out.

The field numbers are those of Paddle Serving 0.9's ``pipeline_service.proto``; keys, values and their form
are those of PaddleClas' ``classification_web_service.py``. A failure is a number in an ordinary answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.open_inference import logits_of
from ghostclas.serve.paddle import pictures
from ghostclas.serve.protos import define
from ghostclas.serve.service import Answer, Service

PACKAGE = "baidu.paddle_serving.pipeline_serving"
SERVICE = f"{PACKAGE}.PipelineService"
METHOD = "inference"
NAME = "imagenet"
"""What PaddleClas calls its pipeline; a model's own name is taken, too."""

ERROR_NUMBERS: Mapping[Kind, int] = {
    Kind.INVALID: 5000,
    Kind.TOO_LARGE: 5000,
    Kind.NOT_FOUND: 3002,
    Kind.UNSUPPORTED: 3000,
    Kind.UNAUTHENTICATED: 5000,
    Kind.FULL: 3001,
    Kind.DRAINING: 3001,
    Kind.LATE: 6000,
    Kind.CANCELLED: 10000,
    Kind.FAILED: 9000,
}
"""Paddle Serving's numbers, by its own names: 5000 input, 3002 no service, 3001 closed, 6000 timeout."""

_PROFILE = "pipeline.profile"
"""A key that asks for timings; it holds no picture."""

_MESSAGES = define(
    "pipeline_service.proto",
    PACKAGE,
    {
        "Tensor": {
            "int64_data": "1 repeated int64",
            "float_data": "2 repeated float",
            "int_data": "3 repeated int32",
            "float64_data": "4 repeated double",
            "uint32_data": "5 repeated uint32",
            "bool_data": "6 repeated bool",
            "complex64_data": "7 repeated float",
            "complex128_data": "8 repeated double",
            "str_data": "9 repeated string",
            "byte_data": "10 bytes",
            "elem_type": "20 int32",
            "shape": "21 repeated int32",
            "lod": "22 repeated int32",
            "name": "23 string",
        },
        "Request": {
            "key": "1 repeated string",
            "value": "2 repeated string",
            "tensors": "3 repeated Tensor",
            "name": "4 string",
            "method": "5 string",
            "logid": "6 int64",
            "clientip": "7 string",
        },
        "Response": {
            "err_no": "1 int32",
            "err_msg": "2 string",
            "key": "3 repeated string",
            "value": "4 repeated string",
            "tensors": "5 repeated Tensor",
        },
    },
    services={"PipelineService": {METHOD: ("Request", "Response")}},
)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A request: keys, the value of each, and the pipeline's name ("" if the client did not say)."""

    keys: Sequence[str]
    values: Sequence[str]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """An answer: for each picture the best label and its probability, or the error."""

    labels: Sequence[str] = ()
    scores: Sequence[float] = ()
    error: ServeError | None = None
    answer: Answer | None = None

    def pairs(self) -> dict[str, str]:
        """Return the keys and values: lists, written as Python writes them, which clients evaluate."""
        if self.error is not None:
            return {}
        return {"label": repr(list(self.labels)), "prob": repr(list(self.scores))}

    @property
    def number(self) -> int:
        """Paddle Serving's number of the error; 0 is success."""
        return 0 if self.error is None else ERROR_NUMBERS[self.error.kind]

    @property
    def message(self) -> str:
        """The error in words."""
        return "" if self.error is None else self.error.message


def read_message(data: bytes) -> Pairs:
    """Return the request that a message holds.

    Raises:
        ServeError: INVALID; the bytes are no such message.
    """
    message = _MESSAGES["Request"]()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise pictures.invalid(f"the message is no PipelineService request: {error}") from None
    if message.tensors:
        raise ServeError(Kind.UNSUPPORTED, "pictures come as keys and values here, not as tensors")
    return Pairs(list(message.key), list(message.value), message.name)


def read_json(document: Mapping[str, Any], name: str) -> Pairs:
    """Return the request that a JSON object holds.

    Args:
        document: the body.
        name: the pipeline's name, from the path.

    Raises:
        ServeError: INVALID; it is no such object.
    """
    if document.get("tensors"):
        raise ServeError(Kind.UNSUPPORTED, "pictures come as keys and values here, not as tensors")
    for field in ("key", "value"):
        texts = document.get(field)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise pictures.invalid(f"{field!r} is a list of strings")
    return Pairs(document["key"], document["value"], name)


async def infer(service: Service, pairs: Pairs, ask: pictures.Ask) -> Labels:
    """Answer a request.

    Raises:
        ServeError: see ``Kind``.
    """
    model = service.model(None if pairs.name in ("", NAME) else pairs.name)
    if len(pairs.keys) != len(pairs.values):
        raise pictures.invalid(f"there are {len(pairs.keys)} keys and {len(pairs.values)} values")
    texts = [(key, text) for key, text in zip(pairs.keys, pairs.values, strict=True) if key != _PROFILE]
    if len(texts) > service.limits.request_images:
        raise ServeError(Kind.TOO_LARGE, f"at most {service.limits.request_images} images, got {len(texts)}")
    files = [pictures.file_of(text, f"the value of {key[:100]!r}") for key, text in texts]
    answer = await ask(files, model.name)
    logits_of(answer)  # refuses the request if a picture cannot be read
    best = [prediction.top[0] for prediction in answer.predictions(top=1)]
    return Labels([label.label for label in best], [label.score for label in best], answer=answer)


def write_message(labels: Labels) -> bytes:
    """Return the answer as a message."""
    pairs = labels.pairs()
    response = _MESSAGES["Response"](
        err_no=labels.number, err_msg=labels.message, key=list(pairs), value=list(pairs.values())
    )
    return bytes(response.SerializeToString())


def to_json(labels: Labels) -> dict[str, Any]:
    """Return the answer as a JSON object."""
    pairs = labels.pairs()
    return {
        "err_no": labels.number,
        "err_msg": labels.message,
        "key": list(pairs),
        "value": list(pairs.values()),
        "tensors": [],
    }
