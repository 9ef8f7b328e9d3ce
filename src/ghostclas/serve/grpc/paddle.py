"""Paddle Serving's services over gRPC, as its ``PipelineClient`` and ``HttpClient`` call them."""

from __future__ import annotations

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.grpc.calls import Call
from ghostclas.serve.paddle import general_model, pipeline


async def general_inference(call: Call, data: bytes) -> bytes:
    """Answer ``GeneralModelService.inference``.

    Raises:
        ServeError: see ``Kind``.
    """
    call.service.refuse_if_draining()
    feed = await call.read(len(data), general_model.read_message, data)
    fetched = await general_model.infer(call.service, feed, call.answer)
    return general_model.write_message(fetched)


async def pipeline_inference(call: Call, data: bytes) -> bytes:
    """Answer ``PipelineService.inference``; a failure is a number in the answer, as its clients expect."""
    try:
        call.service.refuse_if_draining()
        pairs = await call.read(len(data), pipeline.read_message, data)
        labels = await pipeline.infer(call.service, pairs, call.answer)
    except ServeError as error:
        if error.kind is Kind.CANCELLED:
            raise
        labels = pipeline.Labels(error=error)
        call.failure = error.kind
    return pipeline.write_message(labels)
