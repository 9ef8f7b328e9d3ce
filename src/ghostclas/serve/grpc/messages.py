"""The messages of gRPC's services: the Open Inference Protocol v2, health and reflection.

The field numbers are those of KServe's ``grpc_predict_v2.proto``, and of gRPC's ``health.proto`` and
``reflection.proto``.
"""

from __future__ import annotations

from ghostclas.serve.protos import define

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

_PARAMETERS = "map<string, InferParameter>"

inference = define(
    "grpc_predict_v2.proto",
    "inference",
    {
        "ServerLiveRequest": {},
        "ServerLiveResponse": {"live": "1 bool"},
        "ServerReadyRequest": {},
        "ServerReadyResponse": {"ready": "1 bool"},
        "ModelReadyRequest": {"name": "1 string", "version": "2 string"},
        "ModelReadyResponse": {"ready": "1 bool"},
        "ServerMetadataRequest": {},
        "ServerMetadataResponse": {
            "name": "1 string",
            "version": "2 string",
            "extensions": "3 repeated string",
        },
        "ModelMetadataRequest": {"name": "1 string", "version": "2 string"},
        "ModelMetadataResponse": {
            "name": "1 string",
            "versions": "2 repeated string",
            "platform": "3 string",
            "inputs": "4 repeated ModelMetadataResponse.TensorMetadata",
            "outputs": "5 repeated ModelMetadataResponse.TensorMetadata",
            "properties": "6 map<string, string>",
        },
        "ModelMetadataResponse.TensorMetadata": {
            "name": "1 string",
            "datatype": "2 string",
            "shape": "3 repeated int64",
        },
        "InferParameter": {
            "bool_param": "1 bool in parameter_choice",
            "int64_param": "2 int64 in parameter_choice",
            "string_param": "3 string in parameter_choice",
            "double_param": "4 double in parameter_choice",
            "uint64_param": "5 uint64 in parameter_choice",
        },
        "InferTensorContents": {
            "bool_contents": "1 repeated bool",
            "int_contents": "2 repeated int32",
            "int64_contents": "3 repeated int64",
            "uint_contents": "4 repeated uint32",
            "uint64_contents": "5 repeated uint64",
            "fp32_contents": "6 repeated float",
            "fp64_contents": "7 repeated double",
            "bytes_contents": "8 repeated bytes",
        },
        "ModelInferRequest": {
            "model_name": "1 string",
            "model_version": "2 string",
            "id": "3 string",
            "parameters": f"4 {_PARAMETERS}",
            "inputs": "5 repeated ModelInferRequest.InferInputTensor",
            "outputs": "6 repeated ModelInferRequest.InferRequestedOutputTensor",
            "raw_input_contents": "7 repeated bytes",
        },
        "ModelInferRequest.InferInputTensor": {
            "name": "1 string",
            "datatype": "2 string",
            "shape": "3 repeated int64",
            "parameters": f"4 {_PARAMETERS}",
            "contents": "5 InferTensorContents",
        },
        "ModelInferRequest.InferRequestedOutputTensor": {
            "name": "1 string",
            "parameters": f"2 {_PARAMETERS}",
        },
        "ModelInferResponse": {
            "model_name": "1 string",
            "model_version": "2 string",
            "id": "3 string",
            "parameters": f"4 {_PARAMETERS}",
            "outputs": "5 repeated ModelInferResponse.InferOutputTensor",
            "raw_output_contents": "6 repeated bytes",
        },
        "ModelInferResponse.InferOutputTensor": {
            "name": "1 string",
            "datatype": "2 string",
            "shape": "3 repeated int64",
            "parameters": f"4 {_PARAMETERS}",
            "contents": "5 InferTensorContents",
        },
    },
    services={
        "GRPCInferenceService": {
            name: (f"{name}Request", f"{name}Response")
            for name in (
                "ServerLive",
                "ServerReady",
                "ModelReady",
                "ServerMetadata",
                "ModelMetadata",
                "ModelInfer",
            )
        }
    },
)

health = define(
    "grpc/health/v1/health.proto",
    "grpc.health.v1",
    {
        "HealthCheckRequest": {"service": "1 string"},
        "HealthCheckResponse": {"status": "1 HealthCheckResponse.ServingStatus"},
        "HealthListRequest": {},
        "HealthListResponse": {"statuses": "1 map<string, HealthCheckResponse>"},
    },
    enums={"HealthCheckResponse.ServingStatus": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")},
    services={
        "Health": {
            "Check": ("HealthCheckRequest", "HealthCheckResponse"),
            "List": ("HealthListRequest", "HealthListResponse"),
            "Watch": ("HealthCheckRequest", "stream HealthCheckResponse"),
        }
    },
)

_REFLECTION = {
    "ServerReflectionRequest": {
        "host": "1 string",
        "file_by_filename": "3 string in message_request",
        "file_containing_symbol": "4 string in message_request",
        "file_containing_extension": "5 ExtensionRequest in message_request",
        "all_extension_numbers_of_type": "6 string in message_request",
        "list_services": "7 string in message_request",
    },
    "ExtensionRequest": {"containing_type": "1 string", "extension_number": "2 int32"},
    "ServerReflectionResponse": {
        "valid_host": "1 string",
        "original_request": "2 ServerReflectionRequest",
        "file_descriptor_response": "4 FileDescriptorResponse in message_response",
        "all_extension_numbers_response": "5 ExtensionNumberResponse in message_response",
        "list_services_response": "6 ListServiceResponse in message_response",
        "error_response": "7 ErrorResponse in message_response",
    },
    "FileDescriptorResponse": {"file_descriptor_proto": "1 repeated bytes"},
    "ExtensionNumberResponse": {"base_type_name": "1 string", "extension_number": "2 repeated int32"},
    "ListServiceResponse": {"service": "1 repeated ServiceResponse"},
    "ServiceResponse": {"name": "1 string"},
    "ErrorResponse": {"error_code": "1 int32", "error_message": "2 string"},
}

reflection = {
    service: define(
        f"{service.rpartition('.')[0].replace('.', '/')}/reflection.proto",
        service.rpartition(".")[0],
        _REFLECTION,
        services={
            "ServerReflection": {
                "ServerReflectionInfo": ("stream ServerReflectionRequest", "stream ServerReflectionResponse")
            }
        },
    )
    for service in REFLECTIONS
}
"""The messages of both versions, by the name of the service; they are alike."""
