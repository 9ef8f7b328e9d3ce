"""Paddle Serving over HTTP: a body in, a body out. Who calls this reads the body within its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ghostclas.serve.failures import ServeError
from ghostclas.serve.paddle import general_model, pipeline
from ghostclas.serve.paddle.pictures import asking
from ghostclas.serve.service import Answer, Service

PROTO = "application/proto"
"""What Paddle Serving's ``HttpClient`` says of a message; its answer is one, too."""

PROTOS = (PROTO, "application/x-protobuf", "application/protobuf")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a message of ``PROTO``, or an object for JSON. ``failure`` is what the object tells of."""

    content: bytes | Mapping[str, Any]
    answer: Answer | None
    failure: ServeError | None = None


async def general_model_inference(
    service: Service,
    body: bytes | Mapping[str, Any],
    *,
    deadline: float | None = None,
    request_id: str = "",
    trace: str = "",
) -> Reply:
    """Answer ``POST /GeneralModelService/inference``.

    Args:
        service: the models.
        body: a message, or the object of a JSON body.
        deadline: by ``time.monotonic``.
        request_id: for the log.
        trace: a W3C ``traceparent``, for the log.

    Raises:
        ServeError: see ``Kind``.
    """
    binary = isinstance(body, bytes)
    feed = general_model.read_message(body) if isinstance(body, bytes) else general_model.read_json(body)
    ask = asking(service, deadline=deadline, request_id=request_id, trace=trace)
    fetched = await general_model.infer(service, feed, ask)
    content = general_model.write_message(fetched) if binary else general_model.to_json(fetched)
    return Reply(content, fetched.answer)


async def pipeline_prediction(
    service: Service,
    name: str,
    body: Mapping[str, Any],
    *,
    deadline: float | None = None,
    request_id: str = "",
    trace: str = "",
) -> Reply:
    """Answer ``POST /{name}/prediction``, of which PaddleClas' name is ``imagenet``.

    A failed answer carries the error number that Paddle's clients read, and ``error`` as every failed answer
    of this server; ``failure`` tells its status.

    Args:
        service: the models.
        name: of the pipeline.
        body: the object of the JSON body.
        deadline: by ``time.monotonic``.
        request_id: for the log.
        trace: a W3C ``traceparent``, for the log.
    """
    try:
        pairs = pipeline.read_json(body, name)
        ask = asking(service, deadline=deadline, request_id=request_id, trace=trace)
        labels = await pipeline.infer(service, pairs, ask)
    except ServeError as error:
        document = pipeline.to_json(pipeline.Labels(error=error))
        return Reply({**document, "error": error.message}, None, error)
    return Reply(pipeline.to_json(labels), labels.answer)
