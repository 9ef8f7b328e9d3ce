"""Every call of tritonclient's gRPC client: ``triton.py PORT IMAGE IMAGE`` prints what became of each."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

port, *paths = sys.argv[1:]
files = [Path(path).read_bytes() for path in paths]
client = triton.InferenceServerClient(f"127.0.0.1:{port}")
results: dict[str, Any] = {}


def tried(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or its status."""
    try:
        return call()
    except InferenceServerException as error:
        return f"refused: {error.status()}"


encoded = triton.InferInput("encoded", [len(files)], "BYTES")
encoded.set_data_from_numpy(np.array(files, dtype=object))
scores = triton.InferRequestedOutput("scores")
best = triton.InferRequestedOutput("scores", class_count=2)


def shaped(result: Any) -> Any:
    """Return the scores of a result."""
    return result.as_numpy("scores").tolist()


def awaited(begin: Callable[[Callable[..., None]], Any]) -> Any:
    """Return what a callback is given."""
    came: queue.Queue[Any] = queue.Queue()
    begin(lambda result, error: came.put((result, error)))
    result, error = came.get(timeout=60)
    if error:
        return f"refused: {error.status()}"
    return shaped(result)


def streamed() -> Any:
    """Return the answer of a stream."""

    def begin(callback: Callable[..., None]) -> None:
        client.start_stream(callback)
        # The stream may have failed by now; the callback is told how in any case.
        with suppress(InferenceServerException):
            client.async_stream_infer("default", [encoded])

    try:
        return awaited(begin)
    finally:
        client.stop_stream()


metadata = client.get_model_metadata("default", as_json=True)
side = int(metadata["inputs"][0]["shape"][1])
zeros = triton.InferInput("images", [1, side, side, 3], "UINT8")
zeros.set_data_from_numpy(np.zeros((1, side, side, 3), np.uint8))
version = metadata["versions"][0]

results["metadata"] = metadata
results["server"] = client.get_server_metadata(as_json=True)
results["live"] = client.is_server_live()
results["ready"] = client.is_server_ready()
results["model_ready"] = client.is_model_ready("default", version)
results["no_model_ready"] = tried(lambda: client.is_model_ready("none"))
results["infer"] = shaped(client.infer("default", [encoded]))
results["id"] = client.infer("default", [encoded], request_id="mine").get_response().id
results["version"] = shaped(client.infer("default", [encoded], model_version=version, outputs=[scores]))
results["best"] = client.infer("default", [encoded], outputs=[best]).as_numpy("scores").astype(str).tolist()
results["pixels"] = list(client.infer("default", [zeros]).as_numpy("logits").shape)
results["compressed"] = shaped(client.infer("default", [encoded], compression_algorithm="gzip"))
results["timed"] = shaped(client.infer("default", [encoded], client_timeout=60, timeout=60_000_000))
results["late"] = tried(lambda: client.infer("default", [encoded], client_timeout=1e-6))
results["async"] = awaited(lambda callback: client.async_infer("default", [encoded], callback))
results["both"] = tried(lambda: client.infer("default", [encoded, zeros]))
results["none"] = tried(lambda: client.infer("none", [encoded]))
shared = triton.InferInput("encoded", [1], "BYTES")
shared.set_shared_memory("region", 10)
results["shared"] = tried(lambda: client.infer("default", [shared]))
results["unserved"] = {
    name: tried(call)
    for name, call in {
        "stream": streamed,
        "config": lambda: client.get_model_config("default"),
        "index": client.get_model_repository_index,
        "load": lambda: client.load_model("default"),
        "unload": lambda: client.unload_model("default"),
        "statistics": client.get_inference_statistics,
        "trace": client.get_trace_settings,
        "set_trace": lambda: client.update_trace_settings(settings={}),
        "log": client.get_log_settings,
        "set_log": lambda: client.update_log_settings({}),
        "memory": client.get_system_shared_memory_status,
        "set_memory": lambda: client.register_system_shared_memory("n", "/k", 10),
        "unset_memory": client.unregister_system_shared_memory,
        "cuda": client.get_cuda_shared_memory_status,
        "unset_cuda": client.unregister_cuda_shared_memory,
    }.items()
}
client.close()
print(json.dumps(results))
