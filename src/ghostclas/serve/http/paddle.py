"""Paddle Serving over HTTP: ``/GeneralModelService/inference`` and ``/imagenet/prediction``, its pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ghostclas.serve.http.bodies import parse_json
from ghostclas.serve.http.calls import Call
from ghostclas.serve.http.responses import STATUS, RefusalError, Response, json_response
from ghostclas.serve.paddle import rest


async def general_model(call: Call) -> Response:
    """Answer a message by a message, and JSON by JSON."""
    kind = call.content_type
    if kind not in (*rest.PROTOS, "application/json", ""):
        raise RefusalError(415, f"send application/json or {rest.PROTO}, not {kind[:100]!r}")
    body = await call.body()
    content: bytes | Mapping[str, Any] = body
    if kind not in rest.PROTOS:
        content = parse_json(body, call.site.limits)
    asked = rest.general_model_inference(
        call.site.service, content, request_id=call.request_id, trace=call.trace.header
    )
    return _response(call, await call.unless_left(asked))


async def pipeline(call: Call, name: str) -> Response:
    """Answer keys and values by keys and values. Paddle's clients send them without a content type."""
    content = parse_json(await call.body(), call.site.limits)
    asked = rest.pipeline_prediction(
        call.site.service, name, content, request_id=call.request_id, trace=call.trace.header
    )
    return _response(call, await call.unless_left(asked))


def _response(call: Call, reply: rest.Reply) -> Response:
    if reply.answer is not None:
        call.answered = reply.answer.model
        call.images = len(reply.answer.rows)
    if isinstance(reply.content, bytes):
        return Response(reply.content, content_type=rest.PROTO.encode())
    if reply.failure is not None:
        return json_response(reply.content, status=STATUS[reply.failure.kind], kind=reply.failure.kind.value)
    return json_response(reply.content)
