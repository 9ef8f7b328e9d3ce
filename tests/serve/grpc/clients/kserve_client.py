"""Every call of kserve's gRPC client: ``kserve_client.py PORT IMAGE IMAGE`` prints what became of each."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

port, *paths = sys.argv[1:]
files = [Path(path).read_bytes() for path in paths]


def request(*inputs: InferInput, model: str = "default") -> InferRequest:
    """Return a request."""
    return InferRequest(model, list(inputs), request_id="mine")


def scores_of(response: Any) -> Any:
    """Return the scores of a response."""
    return next(output for output in response.outputs if output.name == "scores").as_numpy().tolist()


async def main() -> dict[str, Any]:
    """Call."""
    client = InferenceGRPCClient(f"127.0.0.1:{port}", retries=0)
    raw = InferInput("encoded", [len(files)], "BYTES")
    raw.set_data_from_numpy(np.array(files, dtype=object), binary_data=True)
    typed = InferInput("encoded", [len(files)], "BYTES", data=files)
    results: dict[str, Any] = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": await client.is_model_ready("default"),
    }
    answer = await client.infer(request(raw))
    results["id"], results["raw"] = answer.id, scores_of(answer)
    results["typed"] = scores_of(await client.infer(request(typed)))
    for name, call in {
        "none": client.infer(request(raw, model="none")),
        "both": client.infer(request(raw, raw)),
        "late": client.infer(request(raw), timeout=1e-6),
    }.items():
        try:
            results[name] = str(await call)
        except grpc.RpcError as error:
            results[name] = error.code().name
    await client.close()
    return results


print(json.dumps(asyncio.run(main())))
