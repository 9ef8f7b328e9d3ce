"""The files under ``deploy/``: their commands, paths and fields exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ghostclas.cli import app
from tests.examples import ROOT
from tests.serve.client_environment import run_client
from tests.serve.http.servers import http_server

DEPLOY = ROOT / "deploy"
CHECK = Path(__file__).parent / "clients" / "manifests.py"


def parse(arguments: list[str]) -> dict[str, Any]:
    """Return the options that ``ghostclas serve`` reads from these arguments."""
    root = typer.main.get_command(app)
    assert hasattr(root, "get_command")
    command = root.get_command(root.make_context("ghostclas", [], resilient_parsing=True), "serve")
    options: dict[str, Any] = command.make_context("serve", list(arguments)).params
    return options


def containers() -> dict[str, dict[str, Any]]:
    """Return the containers of the manifests by their names."""
    found = {}
    for name in ("kubernetes.yaml", "kserve.yaml"):
        for document in yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")):
            spec = document["spec"].get("template", document)["spec"]
            found.update({one["name"]: one for one in spec.get("containers", [])})
    return found


def test_the_containers_serve_on_the_ports_that_they_name() -> None:
    found = containers()
    assert set(found) == {"ghostclas", "kserve-container"}
    options = parse(found["ghostclas"]["args"])
    ports = {port["name"]: port["containerPort"] for port in found["ghostclas"]["ports"]}
    assert ports == {"http": options["http"], "grpc": options["grpc"]}
    options = parse(found["kserve-container"]["args"])
    assert options["http"] == found["kserve-container"]["ports"][0]["containerPort"]
    assert options["no_grpc"] is True
    assert options["model"] == ["{{.Name}}=/mnt/models"]


def test_the_probes_ask_what_answers() -> None:
    paths = {
        probe["httpGet"]["path"]
        for container in containers().values()
        for name, probe in container.items()
        if name.endswith("Probe")
    }
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    paths |= set(re.findall(r"127\.0\.0\.1:8000(/[\w/]+)", dockerfile))
    assert paths == {"/v2/health/live", "/v2/health/ready"}
    with http_server() as server:
        assert {server.get(path).status for path in paths} == {200}


@pytest.mark.slow
def test_the_manifests_have_the_fields_of_kubernetes_and_kserve(tmp_path: Path) -> None:
    text = (DEPLOY / "kserve.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        text.replace("protocolVersions:", "protocolVersion:").replace("autoSelect: true", "autoSelect: 1"),
        encoding="utf-8",
    )
    found = run_client(CHECK, "kserve", DEPLOY / "kubernetes.yaml", DEPLOY / "kserve.yaml", broken)["files"]
    assert found[:2] == [
        {"kinds": ["Deployment", "Service", "PodDisruptionBudget"], "wrong": []},
        {"kinds": ["ServingRuntime", "InferenceService"], "wrong": []},
    ]
    wrong = " ".join(found[2]["wrong"])
    assert "protocolVersion is no field" in wrong
    assert "autoSelect is int" in wrong


def test_the_unit_is_one_of_systemd_and_starts_the_server(tmp_path: Path) -> None:
    text = (DEPLOY / "ghostclas.service").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=\S+/ghostclas serve (.*)$", text, re.MULTILINE)
    assert parse(command.split())["workers"] == 1
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "ghostclas.service"
    # The program of the unit is installed where it runs.
    unit.write_text(text.replace("/opt/ghostclas/bin/ghostclas", "/bin/true"), encoding="utf-8")
    done = subprocess.run([tool, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
