"""The server and tritonclient in one process: ``one_process.py PACKAGES IMAGE`` prints the scores.

PACKAGES is the folder of the clients' packages; they come last, so that all else is this environment's.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path

import numpy as np

packages, path, first = sys.argv[1:]
sys.path.append(packages)
if first == "client":
    importlib.import_module("tritonclient.grpc")

from ghostclas.serve.grpc.server import start  # noqa: E402
from ghostclas.serve.security import Security  # noqa: E402
from tests.serve.served import serving  # noqa: E402


async def main() -> list[list[float]]:
    """Serve and call."""
    import tritonclient.grpc.aio as triton

    with serving() as service:
        running = await start(service, service.limits, Security())
        client = triton.InferenceServerClient(f"127.0.0.1:{running.port}")
        encoded = triton.InferInput("encoded", [1], "BYTES")
        encoded.set_data_from_numpy(np.array([Path(path).read_bytes()], dtype=object))
        answer = await client.infer("default", [encoded])
        await client.close()
        await running.close()
    return list(answer.as_numpy("scores").tolist())


print(json.dumps(asyncio.run(main())))
