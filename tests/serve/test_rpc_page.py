"""``docs/serving.md``: its examples of gRPC and bRPC run, and its table of failures is the servers'."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ghostclas.serve.brpc.server import CODES
from ghostclas.serve.brpc.server import start as start_brpc
from ghostclas.serve.failures import Kind
from ghostclas.serve.grpc.calls import STATUS as GRPC_STATUS
from ghostclas.serve.grpc.server import start as start_grpc
from ghostclas.serve.http.responses import STATUS as HTTP_STATUS
from tests.serve.client_environment import PYTHON, client_packages
from tests.serve.document import examples, section
from tests.serve.hosting import hosted, scores_of
from tests.serve.served import SECONDS, builtin_bundle, builtin_model, jpeg, serving


def run(
    python: Path | str, code: str, folder: Path, start: Callable[..., Coroutine[Any, Any, Any]], port: int
) -> str:
    """Run an example against a server on another port than its own, and return what it prints."""
    (folder / "photo.jpg").write_bytes(jpeg(0))
    with serving(builtin_model("ghostnet_x1_0")) as service, hosted(start, service) as server:
        assert str(port) in code
        done = subprocess.run(
            [python, "-c", code.replace(str(port), str(server.port))],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_example_of_brpc(tmp_path: Path) -> None:
    (code,) = examples("bRPC", "python")
    printed = run(sys.executable, code, tmp_path, start_brpc, 8000)
    score, index = map(float, printed.strip("()\n").split(", "))
    scores = scores_of(jpeg(0))[0]
    assert score == pytest.approx(float(scores.max()), abs=1e-5)
    assert index == scores.argmax()


def test_the_example_of_grpc(tmp_path: Path) -> None:
    client_packages()
    (code,) = examples("gRPC", "python")
    printed = run(PYTHON, code, tmp_path, start_grpc, 8001)
    scores = scores_of(jpeg(0))[0]
    best = [f"{scores[index]:.3f}  {builtin_bundle().classes[index]}" for index in (-scores).argsort()[:3]]
    assert printed.splitlines() == best


ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in section("Failures").splitlines()
    if line.startswith("|")
][2:]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CANCELLED])
def test_the_table_of_failures_is_the_servers(kind: Kind) -> None:
    told = (str(int(HTTP_STATUS[kind])), GRPC_STATUS[kind].name, str(CODES[kind]))
    rows = [
        row
        for row in ROWS
        if row[1].split()[0] == told[0]
        and told[1] in row[2].replace(",", " ").split()
        and told[2] in row[3].replace(",", " ").split()
    ]
    assert rows, told
