"""Every call of kserve's REST client: ``kserve_client.py PORT IMAGE IMAGE`` prints what became of each."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

port, *paths = sys.argv[1:]
files = [Path(path).read_bytes() for path in paths]
url = f"http://127.0.0.1:{port}"


def request(*inputs: InferInput, binary: bool | None = None) -> InferRequest:
    """Return a request for the scores; ``binary`` says how they are sent, None as the server does."""
    outputs = None if binary is None else [RequestedOutput("scores", {"binary_data": binary})]
    return InferRequest("default", list(inputs), request_id="mine", request_outputs=outputs)


def scores_of(response: Any) -> Any:
    """Return the scores of a response."""
    return next(output for output in response.outputs if output.name == "scores").as_numpy().tolist()


async def tried(call: Awaitable[Any]) -> Any:
    """Return what a call gives, or the status that it was refused with."""
    try:
        return await call
    except httpx.HTTPStatusError as error:
        return error.response.status_code


async def main() -> dict[str, Any]:
    """Call everything."""
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    encoded = InferInput("encoded", [len(files)], "BYTES")
    encoded.set_data_from_numpy(np.array(files, dtype=object), binary_data=True)
    texts = [base64.b64encode(data).decode() for data in files]
    as_text = InferInput("encoded", [len(files)], "BYTES", data=texts)
    both = InferInput("images", [1, 1, 1, 3], "UINT8", data=[1, 2, 3])
    results: dict[str, Any] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, "default"),
        "no_model": await tried(client.infer(url, request(encoded), "none")),
        "both": await tried(client.infer(url, request(as_text, both), "default")),
    }
    for name, asked in {
        "binary": request(encoded),
        "json": request(as_text),
        "json_in": request(as_text, binary=True),
        "json_out": request(encoded, binary=False),
    }.items():
        answer = await client.infer(url, asked, "default")
        results[name] = scores_of(answer)
        results["id"] = answer.id
    plain = {"inputs": [{"name": "encoded", "datatype": "BYTES", "shape": [len(files)], "data": texts}]}
    results["dict"] = scores_of(await client.infer(url, plain, "default"))
    await client.close()
    return results


print(json.dumps(asyncio.run(main())))
