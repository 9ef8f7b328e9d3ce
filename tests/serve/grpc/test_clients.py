"""The clients of others: tritonclient's and kserve's, every call of each, and one that knows no service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ghostclas.serve.grpc.server import SERVICES, start
from tests.serve.client_environment import ROOT, client_packages, run_client
from tests.serve.hosting import HostedProtocol, hosted, scores_of
from tests.serve.served import builtin_bundle, jpeg, serving

CLIENTS = Path(__file__).parent / "clients"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def server() -> Iterator[HostedProtocol]:
    with serving(threads=2) as service, hosted(start, service) as host:
        yield host


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{seed}.jpg" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        path.write_bytes(jpeg(seed))
    return paths


def test_every_call_of_tritonclient(server: HostedProtocol, files: list[Path]) -> None:
    results = run_client(CLIENTS / "triton.py", "tritonclient.grpc", str(server.port), *files)
    for name in ("infer", "version", "compressed", "timed", "async"):
        np.testing.assert_allclose(results[name], scores_of(jpeg(0), jpeg(1)), atol=TOLERANCE, err_msg=name)
    for name in ("live", "ready", "model_ready"):
        assert results[name] is True
    assert results["no_model_ready"] == "refused: StatusCode.NOT_FOUND"
    assert results["id"] == "mine"
    classes = builtin_bundle().classes
    for row, scores in zip(results["best"], scores_of(jpeg(0), jpeg(1)), strict=True):
        assert [text.split(":", 1)[1] for text in row] == [
            f"{i}:{classes[i]}" for i in np.argsort(-scores)[:2]
        ]
    assert results["pixels"] == [1, len(classes)]
    assert results["metadata"]["inputs"][0]["datatype"] == "UINT8"
    assert results["server"]["name"] == "ghostclas"
    assert results["late"] == "refused: StatusCode.DEADLINE_EXCEEDED"
    assert results["both"] == "refused: StatusCode.INVALID_ARGUMENT"
    assert results["none"] == "refused: StatusCode.NOT_FOUND"
    assert results["shared"] == "refused: StatusCode.UNIMPLEMENTED"
    assert set(results["unserved"].values()) == {"refused: StatusCode.UNIMPLEMENTED"}


@pytest.mark.slow
def test_every_call_of_kserves_client(server: HostedProtocol, files: list[Path]) -> None:
    results = run_client(CLIENTS / "kserve_client.py", "kserve", str(server.port), *files)
    for name in ("raw", "typed"):
        np.testing.assert_allclose(results[name], scores_of(jpeg(0), jpeg(1)), atol=TOLERANCE, err_msg=name)
    for name in ("live", "ready", "model_ready"):
        assert results[name] is True
    assert results["id"] == "mine"
    assert (results["none"], results["both"]) == ("NOT_FOUND", "INVALID_ARGUMENT")
    assert results["late"] == "DEADLINE_EXCEEDED"


def test_a_client_that_knows_no_service(server: HostedProtocol, files: list[Path]) -> None:
    results = run_client(CLIENTS / "generic.py", "grpc_reflection, grpc_health", str(server.port), files[0])
    assert results["services"] == sorted(SERVICES)
    assert results["live"] is True
    np.testing.assert_allclose([results["scores"]], scores_of(jpeg(0)), atol=TOLERANCE)
    assert (results["health"], results["watched"]) == (1, 1)


@pytest.mark.parametrize("first", ["client", "server"])
def test_the_server_and_tritonclient_share_a_process(files: list[Path], first: str) -> None:
    script = CLIENTS / "one_process.py"
    done = subprocess.run(
        [sys.executable, script, client_packages(), files[0], first],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), scores_of(jpeg(0)), atol=TOLERANCE)
