"""Two replicas under Ray Serve, one of them killed: ``ray_replicas.py IMAGE`` prints what was answered."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import ray
from ray import serve

root = Path(__file__).parents[4]
sys.path.insert(0, str(root / "deploy"))
photo = Path(sys.argv[1]).read_bytes()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]


def ask() -> str:
    """Return the best label, or the status that a request was refused with."""
    request = Request(f"http://127.0.0.1:{port}/predict", photo, {"Content-Type": "image/jpeg"})
    try:
        with urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["top"][0]["label"])
    except HTTPError as error:
        return str(error.code)


def replicas() -> set[str]:
    """Return the names of the replicas that live."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return {actor["name"] for actor in actors if actor["name"].startswith("SERVE_REPLICA")}


def running() -> int:
    """Return how many replicas Ray says that run."""
    states = serve.status().applications["ghostclas"].deployments["Ghostclas"].replica_states
    return int(states.get("RUNNING", 0))


ray.init(
    address="local",
    num_cpus=2,
    include_dashboard=False,
    object_store_memory=100_000_000,
    log_to_driver=False,
    runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root / "deploy")])}},
)
try:
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    from ray_serve import app

    serve.run(app, name="ghostclas", route_prefix="/")
    before = [ask() for _ in range(10)]
    first = replicas()
    killed = min(first)
    ray.kill(ray.get_actor(killed, namespace="serve"))
    during = [ask() for _ in range(20)]
    until = time.monotonic() + 60
    while (len(replicas() - {killed}) < 2 or running() < 2) and time.monotonic() < until:
        during.append(ask())
    after = [ask() for _ in range(10)]
    result = {
        "before": before,
        "during": during,
        "after": after,
        "replicas": [len(first), len(replicas() - {killed})],
    }
finally:
    serve.shutdown()
    ray.shutdown()
print(json.dumps(result))
