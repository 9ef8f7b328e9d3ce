"""The OpenAPI 3.1 document, made from the models, the limits and the prediction's own schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

import ghostclas
from ghostclas.serve import open_inference as protocol
from ghostclas.serve.http.people import DEFAULT_TOP, MAX_SECONDS, MAX_TOP
from ghostclas.serve.limits import Limits
from ghostclas.spec import Label, Prediction, PredictionError

BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_REF = "#/components/schemas/{model}"
_TIMEOUT = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MAX_SECONDS,
    "description": "Seconds until the answer is of no use any more.",
}


def document(models: Sequence[str], limits: Limits, *, secured: bool) -> dict[str, Any]:
    """Return the document.

    Args:
        models: the names of the models, the default first.
        limits: of the server.
        secured: whether requests need a bearer token.
    """
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "ghostclas",
            "version": ghostclas.__version__,
            "summary": "Labels for photos.",
            "description": "POST /predict answers people, /v2 is the Open Inference Protocol for systems. "
            "Every answer that is no success is JSON with a string `error`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**_people(models, limits), **_protocol(models, limits), **_site()},
        "components": {"schemas": {**_prediction_schemas(), **_schemas(limits)}},
    }
    if secured:
        described["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"bearer": []}]
        for path in ("/", "/v2/health/live", "/v2/health/ready"):
            described["paths"][path]["get"]["security"] = []
    return described


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _operation(identifier: str, summary: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    failure = {"description": "Refused; `error` says why.", "content": _json(_ref("Failure"))}
    return {
        "operationId": identifier,
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "4XX": failure,
            "5XX": failure,
        },
        **more,
    }


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _people(models: Sequence[str], limits: Limits) -> dict[str, Any]:
    image = {"type": "string", "format": "binary"}
    several = {
        "type": "array",
        "minItems": 1,
        "items": image,
        "description": f"At most {limits.parts}; every part is an image, whatever its name.",
    }
    raw = {"schema": {**image, "minLength": 1}}
    return {
        "/predict": {
            "post": _operation(
                "predict",
                "Label one photo or several",
                _json({"oneOf": [_ref("Prediction"), _ref("Predictions")]}),
                description="One image as the body gives one prediction. A multipart body, or JSON with "
                "`images`, gives them in a list. A photo that cannot be read is a prediction with `error`.",
                parameters=[
                    _query(
                        "top",
                        "How many labels, best first.",
                        {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP},
                    ),
                    _query("model", "Which model; the first if absent.", {"enum": list(models)}),
                    _query("timeout", _TIMEOUT["description"], _TIMEOUT),  # type: ignore[arg-type]
                ],
                requestBody={
                    "required": True,
                    "description": f"At most {limits.body_bytes} bytes.",
                    "content": {
                        "application/json": {"schema": _ref("Photos")},
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {"image": several},
                                "required": ["image"],
                            }
                        },
                        "application/octet-stream": raw,
                        "image/*": raw,
                    },
                },
            )
        }
    }


def _protocol(models: Sequence[str], limits: Limits) -> dict[str, Any]:
    name = {"name": "name", "in": "path", "required": True, "schema": {"enum": list(models)}}
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }
    body = {
        "required": True,
        "description": "JSON; with the header Inference-Header-Content-Length, so many bytes of JSON "
        "and then the tensors that have a binary_data_size.",
        "content": _json(_ref("InferenceRequest")),
    }
    described: dict[str, Any] = {
        "/v2": {"get": _operation("server_metadata", "Name and extensions", _json(_ref("ServerMetadata")))},
        "/v2/health/live": {"get": _operation("live", "Whether the process lives", _json(_ref("Live")))},
        "/v2/health/ready": {
            "get": _operation("ready", "Whether requests are answered", _json(_ref("Ready")))
        },
    }
    for where, suffix, parameters in (
        ("/v2/models/{name}", "", [name]),
        ("/v2/models/{name}/versions/{version}", "_version", [name, version]),
    ):
        metadata = _operation("model_metadata" + suffix, "A model's tensors", _json(_ref("ModelMetadata")))
        ready = _operation("model_ready" + suffix, "Whether a model answers", _json(_ref("ModelReady")))
        infer = _operation(
            "infer" + suffix, "Tensors for tensors", _json(_ref("InferenceResponse")), requestBody=body
        )
        described[where] = {"parameters": parameters, "get": metadata}
        described[where + "/ready"] = {"parameters": parameters, "get": ready}
        described[where + "/infer"] = {"parameters": parameters, "post": infer}
    return described


def _site() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "/": {"get": _operation("page", "The page for people", {"text/html": text})},
        "/models": {"get": _operation("models", "The models that are served", _json(_ref("Models")))},
        "/status": {"get": _operation("status", "Readiness, queue and limits", _json(_ref("Status")))},
        "/metrics": {"get": _operation("metrics", "Figures for Prometheus", {"text/plain": text})},
        "/openapi.json": {"get": _operation("openapi", "This document", _json({"type": "object"}))},
    }


def _prediction_schemas() -> dict[str, Any]:
    models: Any = [(model, "serialization") for model in (Prediction, Label, PredictionError)]
    _, found = models_json_schema(models, ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        **more,
    }


def _schemas(limits: Limits) -> dict[str, Any]:
    string, boolean = {"type": "string"}, {"type": "boolean"}
    count = {"type": "integer", "minimum": 0}
    base64 = {"type": "string", "contentEncoding": "base64", "pattern": BASE64}
    several = {
        "type": "array",
        "minItems": 1,
        "items": base64,
        "description": f"At most {limits.request_images}.",
    }
    parameters = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    tensor = _object(
        {"name": string, "datatype": string, "shape": {"type": "array", "items": {"type": "integer"}}}
    )
    return {
        "Failure": _object({"error": string}),
        "Predictions": _object({"predictions": {"type": "array", "items": _ref("Prediction")}}),
        "Photos": {
            "oneOf": [
                _object({"image": base64}, additionalProperties=False),
                _object({"images": several}, additionalProperties=False),
            ]
        },
        "Live": _object({"live": boolean}),
        "Ready": _object({"ready": boolean}),
        "ModelReady": _object({"name": string, "ready": boolean}),
        "ServerMetadata": _object(
            {"name": string, "version": string, "extensions": {"type": "array", "items": string}}
        ),
        "Tensor": tensor,
        "ModelMetadata": _object(
            {
                "name": string,
                "versions": {"type": "array", "items": string},
                "platform": string,
                "inputs": {"type": "array", "items": _ref("Tensor")},
                "outputs": {"type": "array", "items": _ref("Tensor")},
            },
            {"parameters": parameters},
        ),
        "InferenceRequest": _object(
            {"inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": _ref("RequestInput")}},
            {
                "id": string,
                "parameters": parameters,
                "outputs": {"type": "array", "maxItems": 2, "items": _ref("RequestOutput")},
            },
        ),
        "RequestInput": {"oneOf": [_ref("Pixels"), _ref("Encoded")]},
        "Pixels": _object(
            {
                "name": {"const": protocol.PIXELS},
                "datatype": {"const": "UINT8"},
                "shape": {"type": "array", "minItems": 4, "maxItems": 4, "items": count},
            },
            {
                "parameters": parameters,
                "data": {"type": "array", "description": "Whole numbers from 0 to 255, flat or nested."},
            },
        ),
        "Encoded": _object(
            {
                "name": {"const": protocol.ENCODED},
                "datatype": {"const": "BYTES"},
                "shape": {"type": "array", "minItems": 1, "maxItems": 2, "items": count},
            },
            {"parameters": parameters, "data": {"type": "array", "items": base64}},
        ),
        "RequestOutput": _object({"name": {"enum": list(protocol.OUTPUTS)}}, {"parameters": parameters}),
        "InferenceResponse": _object(
            {
                "model_name": string,
                "model_version": string,
                "outputs": {"type": "array", "minItems": 1, "items": _ref("ResponseOutput")},
            },
            {"id": string},
        ),
        "ResponseOutput": _object(
            {
                "name": {"enum": list(protocol.OUTPUTS)},
                "datatype": {"enum": ["FP32", "BYTES"]},
                "shape": {"type": "array", "items": count},
            },
            {"parameters": parameters, "data": {"type": "array"}},
        ),
        "Models": _object(
            {
                "models": {
                    "type": "array",
                    "items": _object(
                        {
                            "name": string,
                            "version": string,
                            "classes": count,
                            "side": count,
                            "engine": string,
                            "precision": string,
                        }
                    ),
                }
            }
        ),
        "Status": _object(
            {
                "ready": boolean,
                "queue": _object({"images": count, "bytes": count, "requests": count}),
                "limits": _object({"body_bytes": count, "queue_images": count, "request_images": count}),
            }
        ),
    }
