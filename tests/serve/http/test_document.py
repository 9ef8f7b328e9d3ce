"""The HTTP examples of ``docs/serving.md`` run against a server, and its tables are true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from ghostclas.serve.http.responses import STATUS
from ghostclas.serve.limits import Limits
from tests.serve.document import examples, section
from tests.serve.http.servers import HttpServer, assert_right, best, http_server
from tests.serve.served import builtin_model, jpeg

CURL = [example for example in examples("HTTP", "bash") if "curl" in example]


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(builtin_model("ghostnet_x1_0")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("photo.jpg", "a.jpg", "b.jpg")):
        (tmp_path / name).write_bytes(jpeg(seed))
    return tmp_path


def here(example: str, server: HttpServer) -> str:
    return example.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace(
        '"127.0.0.1", 8000', f'"127.0.0.1", {server.port}'
    )


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize(("example", "seeds"), list(zip(CURL, [(0,), (1, 2), (1, 2)], strict=True)), ids=repr)
def test_curl(example: str, seeds: tuple[int, ...], server: HttpServer, folder: Path) -> None:
    answer = json.loads(run(folder, "bash", "-ec", here(example, server)))
    predictions = answer.get("predictions", [answer])
    for prediction, seed in zip(predictions, seeds, strict=True):
        assert_right(prediction, seed)


def test_python(server: HttpServer, folder: Path) -> None:
    program = "\n".join(examples("HTTP", "python"))
    *bars, tensor = run(folder, sys.executable, "-c", here(program, server)).splitlines()
    labels = [label for label, _ in best(0)][:3]
    assert [bar.partition(" ")[2] for bar in bars] == labels
    assert [text.split(":", 2)[2] for text in json.loads(tensor.replace("'", '"'))] == labels


def test_every_limit_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section("Limits"), re.MULTILINE)
    assert {name: float(value) for name, value in rows} == {
        field.name: float(getattr(Limits(), field.name)) for field in fields(Limits)
    }


def test_every_status_is_in_the_table() -> None:
    table = section("HTTP").partition("### What is refused")[2]
    statuses = set(re.findall(r"\d{3}", " ".join(re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE))))
    known = {str(int(status)) for status in STATUS.values()} - {"499"}
    assert statuses == known | {"405", "408", "415", "431"}
