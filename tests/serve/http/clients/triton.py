"""Every call of tritonclient's HTTP client: ``triton.py PORT IMAGE IMAGE`` prints what became of each."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

port, *paths = sys.argv[1:]
files = [Path(path).read_bytes() for path in paths]
client = triton.InferenceServerClient(f"127.0.0.1:{port}", concurrency=4)
results: dict[str, Any] = {}


def tried(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or its status and whether it has a message."""
    try:
        return call()
    except InferenceServerException as error:
        return f"refused: {error.status()}{'' if error.message() else ' without a message'}"


def scores_of(result: Any) -> Any:
    """Return the scores of a result."""
    return result.as_numpy("scores").tolist()


encoded = triton.InferInput("encoded", [len(files)], "BYTES")
encoded.set_data_from_numpy(np.array(files, dtype=object))
as_text = triton.InferInput("encoded", [len(files)], "BYTES")
texts = [base64.b64encode(data).decode() for data in files]
as_text.set_data_from_numpy(np.array(texts, dtype=object), binary_data=False)
metadata = client.get_model_metadata("default")
side = int(metadata["inputs"][0]["shape"][1])
gray = np.full((1, side, side, 3), 128, np.uint8)
pixels = triton.InferInput("images", [1, side, side, 3], "UINT8")
pixels.set_data_from_numpy(gray)
pixels_as_text = triton.InferInput("images", [1, side, side, 3], "UINT8")
pixels_as_text.set_data_from_numpy(gray, binary_data=False)
in_json = [triton.InferRequestedOutput("scores", binary_data=False)]
in_binary = [triton.InferRequestedOutput("scores")]
best = [triton.InferRequestedOutput("scores", class_count=2)]
best_in_json = [triton.InferRequestedOutput("scores", binary_data=False, class_count=2)]
version = metadata["versions"][0]

results["metadata"] = metadata
results["server"] = client.get_server_metadata()
results["live"] = client.is_server_live()
results["ready"] = client.is_server_ready()
results["model_ready"] = client.is_model_ready("default", version)
results["no_model_ready"] = client.is_model_ready("none")
for name, call in {
    "binary": lambda: client.infer("default", [encoded]),
    "json": lambda: client.infer("default", [as_text], outputs=in_json),
    "json_in": lambda: client.infer("default", [as_text], outputs=in_binary),
    "json_out": lambda: client.infer("default", [encoded], outputs=in_json),
    "version": lambda: client.infer("default", [encoded], model_version=version),
    "gzip": lambda: client.infer("default", [encoded], request_compression_algorithm="gzip"),
    "deflate": lambda: client.infer("default", [encoded], request_compression_algorithm="deflate"),
    "answer_gzip": lambda: client.infer("default", [encoded], response_compression_algorithm="gzip"),
    "async": lambda: client.async_infer("default", [encoded]).get_result(timeout=60),
    "parameters": lambda: client.infer("default", [encoded], parameters={"mine": 1}, priority=1),
}.items():
    results[name] = scores_of(call())
results["id"] = client.infer("default", [encoded], request_id="mine").get_response()["id"]
results["pixels"] = [
    scores_of(client.infer("default", [one], outputs=outputs))
    for one in (pixels, pixels_as_text)
    for outputs in (in_json, in_binary)
]
results["best"] = [
    client.infer("default", [encoded], outputs=outputs).as_numpy("scores").astype(str).tolist()
    for outputs in (best, best_in_json)
]
results["late"] = tried(lambda: client.infer("default", [encoded], timeout=1))
results["both"] = tried(lambda: client.infer("default", [encoded, pixels]))
results["none"] = tried(lambda: client.infer("none", [encoded]))
bad = triton.InferInput("encoded", [1], "BYTES")
bad.set_data_from_numpy(np.array([b"no image"], dtype=object))
results["bad"] = tried(lambda: client.infer("default", [bad]))
shared = triton.InferInput("encoded", [1], "BYTES")
shared.set_shared_memory("region", 10)
results["shared"] = tried(lambda: client.infer("default", [shared]))
results["unserved"] = {
    name: tried(call)
    for name, call in {
        "config": lambda: client.get_model_config("default"),
        "index": client.get_model_repository_index,
        "load": lambda: client.load_model("default"),
        "unload": lambda: client.unload_model("default"),
        "statistics": client.get_inference_statistics,
        "statistics_of_one": lambda: client.get_inference_statistics("default"),
        "trace": client.get_trace_settings,
        "set_trace": lambda: client.update_trace_settings(settings={}),
        "log": client.get_log_settings,
        "set_log": lambda: client.update_log_settings({}),
        "memory": client.get_system_shared_memory_status,
        "set_memory": lambda: client.register_system_shared_memory("n", "/k", 10),
        "unset_memory": client.unregister_system_shared_memory,
        "cuda": client.get_cuda_shared_memory_status,
        "set_cuda": lambda: client.register_cuda_shared_memory("n", b"abc", 0, 10),
        "unset_cuda": client.unregister_cuda_shared_memory,
    }.items()
}
client.close()
print(json.dumps(results))
