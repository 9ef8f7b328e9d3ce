"""The clients of others over HTTP: tritonclient's and kserve's, every call of each, binary and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ghostclas.imaging import softmax
from tests.serve.client_environment import run_client
from tests.serve.hosting import scores_of
from tests.serve.http.servers import HttpServer, http_server
from tests.serve.served import builtin_bundle, builtin_engine, jpeg

CLIENTS = Path(__file__).parent / "clients"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(threads=2) as running:
        yield running
        running.assert_answers()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{seed}.jpg" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        path.write_bytes(jpeg(seed))
    return paths


def test_every_call_of_tritonclient(server: HttpServer, files: list[Path]) -> None:
    results = run_client(CLIENTS / "triton.py", "tritonclient.http", str(server.port), *files)
    expected = scores_of(jpeg(0), jpeg(1))
    for name in (
        *("binary", "json", "json_in", "json_out", "version", "gzip", "deflate", "answer_gzip", "async"),
        "parameters",
    ):
        np.testing.assert_allclose(results[name], expected, atol=TOLERANCE, err_msg=name)
    for name in ("live", "ready", "model_ready"):
        assert results[name] is True
    assert results["no_model_ready"] is False
    assert results["id"] == "mine"
    bundle = builtin_bundle()
    gray = np.full((1, 128, 128, 3), 128, np.uint8)
    scores = softmax(builtin_engine().run(gray), bundle.manifest.postprocess.temperature)
    for found in results["pixels"]:
        np.testing.assert_allclose(found, scores, atol=TOLERANCE)
    for best in results["best"]:
        for row, right in zip(best, expected, strict=True):
            labels = [f"{index}:{bundle.classes[index]}" for index in np.argsort(-right)[:2]]
            assert [text.split(":", 1)[1] for text in row] == labels
    assert results["metadata"]["name"] == "default"
    assert results["server"]["name"] == "ghostclas"
    refused = {name: results[name] for name in ("late", "both", "none", "bad", "shared")}
    assert refused == {
        "late": "refused: 504",
        "both": "refused: 400",
        "none": "refused: 404",
        "bad": "refused: 400",
        "shared": "refused: 501",
    }
    assert set(results["unserved"].values()) == {"refused: 501"}


@pytest.mark.slow
def test_every_call_of_kserves_client(server: HttpServer, files: list[Path]) -> None:
    results = run_client(CLIENTS / "kserve_client.py", "kserve", str(server.port), *files)
    for name in ("binary", "json", "json_in", "json_out", "dict"):
        np.testing.assert_allclose(results[name], scores_of(jpeg(0), jpeg(1)), atol=TOLERANCE, err_msg=name)
    assert [results[name] for name in ("live", "ready", "model_ready")] == [True] * 3
    assert results["id"] == "mine"
    assert (results["no_model"], results["both"]) == (404, 400)
