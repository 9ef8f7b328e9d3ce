"""Paddle Serving's own clients: ``serving_client.py HTTP BRPC GRPC FOLDER CLASSES`` prints what each got.

HTTP, BRPC and GRPC are ports. FOLDER has ``photo.jpg``, ``pixels.npy`` (uint8 ``[N, side, side, 3]``) and
``planes.npy`` (float32 ``[N, 3, side, side]``). It runs on Python 3.9.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from paddle_serving_client import Client, HttpClient

# The module of the pipeline's client is that of its server, too, which needs a package of its own.
for name in ("paddle_serving_server", "paddle_serving_server.util", "paddle_serving_server.env"):
    sys.modules[name] = MagicMock()
from paddle_serving_client.pipeline import PipelineClient  # noqa: E402

http, brpc, other, given, classes = sys.argv[1:]
folder = Path(given)
photo = base64.b64encode((folder / "photo.jpg").read_bytes()).decode()
pixels, planes = np.load(folder / "pixels.npy"), np.load(folder / "planes.npy")
results: dict[str, Any] = {}


def configuration(kind: int, *shape: int) -> str:
    """Write the file of a client whose input is of a type and shape; return its name."""
    axes = "\n  ".join(f"shape: {size}" for size in shape)
    path = folder / f"{kind}.prototxt"
    path.write_text(
        f"""
feed_var {{
  name: "x"
  alias_name: "inputs"
  is_lod_tensor: false
  feed_type: {kind}
  {axes}
}}
fetch_var {{
  name: "softmax_1.tmp_0"
  alias_name: "prediction"
  is_lod_tensor: false
  fetch_type: 1
  shape: {classes}
}}
""",
        encoding="utf-8",
    )
    return str(path)


def by_brpc(port: str, kind: int, shape: tuple[int, ...], value: Any, **options: Any) -> Any:
    """Return the scores that the client in C++ gets, or None for a failure."""
    client = Client()
    client.load_client_config(configuration(kind, *shape))
    client.connect([f"127.0.0.1:{port}"])
    answer = client.predict(feed={"inputs": value}, fetch=["prediction"], **options)
    return answer and answer["prediction"].tolist()


def by_http(
    value: Any, kind: int, shape: tuple[int, ...], *, proto: bool, compress: bool, batch: bool = False
) -> Any:
    """Return the scores that the client over HTTP gets."""
    client = HttpClient()
    client.load_client_config(configuration(kind, *shape))
    client.set_http_proto(proto)
    client.set_request_compress(compress)
    client.set_response_compress(compress)
    client.connect([f"127.0.0.1:{http}"])
    answer = client.predict(feed={"inputs": value}, fetch=["prediction"], batch=batch)
    if isinstance(answer, dict):
        (tensor,) = answer["outputs"][0]["tensor"]
        return np.reshape(tensor["float_data"], tensor["shape"]).tolist()
    return scores_of(answer)


def scores_of(answer: Any) -> Any:
    """Return the scores of a message."""
    (tensor,) = answer.outputs[0].tensor
    return np.reshape(tensor.float_data, tensor.shape).tolist()


results["file"] = by_brpc(brpc, 20, (1,), photo, log_id=7)
results["shared_port"] = by_brpc(http, 20, (1,), photo)
results["planes"] = by_brpc(brpc, 1, planes.shape[1:], planes, batch=True)
results["plane"] = by_brpc(brpc, 1, planes.shape[1:], planes[0])
results["halves"] = by_brpc(brpc, 5, planes.shape[1:], planes.astype(np.float16), batch=True)
results["pixels"] = by_brpc(brpc, 7, pixels.shape[1:], pixels, batch=True)
results["bytes"] = by_brpc(brpc, 7, (1,), np.frombuffer((folder / "photo.jpg").read_bytes(), np.uint8))
results["signed"] = by_brpc(brpc, 8, (1,), np.frombuffer((folder / "photo.jpg").read_bytes(), np.int8))
results["refused"] = by_brpc(brpc, 20, (1,), "no base64!")
results["after"] = by_brpc(brpc, 20, (1,), photo)
for proto in (True, False):
    for compress in (True, False):
        name = f"http_{'proto' if proto else 'json'}{'_gzip' if compress else ''}"
        results[name] = by_http(photo, 20, (1,), proto=proto, compress=compress)
results["http_planes"] = by_http(planes, 1, planes.shape[1:], proto=True, compress=False, batch=True)
client = HttpClient()
client.load_client_config(configuration(20, 1))
client.set_use_grpc_client(True)
client.connect([f"127.0.0.1:{other}"])
results["grpc"] = scores_of(client.predict(feed={"inputs": photo}, fetch=["prediction"], batch=False))
pipeline = PipelineClient()
pipeline.connect([f"127.0.0.1:{other}"])
answer = pipeline.predict(feed_dict={"image": photo}, fetch=["label", "prob"])
results["pipeline"] = [answer.err_no, list(answer.key), list(answer.value)]
results["pipeline_refused"] = pipeline.predict(feed_dict={"image": "!"}, fetch=["label", "prob"]).err_no
print(json.dumps(results))
