"""Paddle Serving's own clients of 2022: bRPC in C++, HTTP and gRPC, in an environment of a Python 3.9."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ghostclas.imaging import preprocess
from ghostclas.serve.brpc.server import start as start_brpc
from ghostclas.serve.grpc.server import start as start_grpc
from ghostclas.serve.http.server import start as start_http
from tests.serve.client_environment import ROOT
from tests.serve.hosting import hosted, scores_of
from tests.serve.served import SECONDS, builtin_bundle, jpeg, serving

CLIENT = Path(__file__).parent / "clients" / "serving_client.py"
FOLDER = ROOT / ".venvs" / "paddle-serving"


def test_every_form_of_paddle_servings_clients(tmp_path: Path) -> None:
    if not (FOLDER / "stubs" / "dlsym.so").exists():
        pytest.skip(
            "no environment .venvs/paddle-serving; clients/make_environment.py makes it of a Python 3.9"
        )
    bundle = builtin_bundle()
    (tmp_path / "photo.jpg").write_bytes(jpeg(0))
    pixels = np.stack([preprocess(jpeg(seed), bundle.preprocess) for seed in (0, 1)])
    planes = (pixels / 255 - np.array(bundle.preprocess.mean)) / np.array(bundle.preprocess.std)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "planes.npy", planes.transpose(0, 3, 1, 2).astype(np.float32))
    with (
        serving() as service,
        socket.create_server(("127.0.0.1", 0)) as listener,
        hosted(start_http, service, sock=listener) as http,
        hosted(start_brpc, service) as brpc,
        hosted(start_grpc, service) as grpc,
    ):
        home = (FOLDER / "bin" / "python").resolve().parents[1]
        done = subprocess.run(
            [
                *(FOLDER / "bin" / "python", CLIENT),
                *map(str, (http.port, brpc.port, grpc.port, tmp_path, len(bundle.classes))),
            ],
            env={
                **os.environ,
                "LD_LIBRARY_PATH": f"{FOLDER / 'stubs'}:{home / 'lib'}",
                "LD_PRELOAD": str(FOLDER / "stubs" / "dlsym.so"),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
        )
        codes = [record.status for record in brpc.records]
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert codes.count("1003") == 1
    assert results.pop("refused") is None
    both, one = scores_of(jpeg(0), jpeg(1)), scores_of(jpeg(0))
    for name in ("planes", "halves", "pixels", "http_planes"):
        np.testing.assert_allclose(results.pop(name), both, atol=1e-5, err_msg=name)
    number, keys, values = results.pop("pipeline")
    assert (number, keys) == (0, ["label", "prob"])
    assert values[0] == repr([bundle.classes[int(one.argmax())]])
    assert results.pop("pipeline_refused") == 5000
    for name, scores in results.items():
        np.testing.assert_allclose(scores, one, atol=1e-5, err_msg=name)
