"""Paddle that is absent, of another version, or lacks a package: one line that says what to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ghostclas.bundle import Bundle
from ghostclas.engines.table import is_installed
from tests.exporting.added import content, present
from tests.images import encode, photo
from tests.paddle_made import pdiparams, program_protobuf


def absent(name: str) -> str:
    return f"raise ModuleNotFoundError(\"No module named '{name}'\", name={name!r})"


def package(folder: Path, name: str, code: str) -> Path:
    """A package that is found before the installed one."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    return folder


def ghostclas(first: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line where the packages in ``first`` are found before the installed ones."""
    path = os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "ghostclas", *words]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


ABSENT = "the package 'paddle', which is not installed: pip install 'ghostclas[paddle]'"
OLD = "paddlepaddle 3.1 or later is needed, and 2.6.2 is installed: pip install 'ghostclas[paddle]'"
BARE = "paddlepaddle needs the package 'setuptools', which is not installed: pip install 'ghostclas[paddle]'"


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("paddle", absent("paddle"), ABSENT),
        ("paddle", "__version__ = '2.6.2'", OLD),
        ("paddle", "import setuptools", BARE),
    ],
    ids=["absent", "another major version", "without setuptools"],
)
def test_an_export_without_a_usable_paddle_adds_nothing(
    name: str, code: str, said: str, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    before = content(tiny_bundle)
    first = package(tmp_path / "first", name, code)
    package(first, "setuptools", absent("setuptools"))
    done = ghostclas(first, "export", "--model", str(tiny_bundle.path), "--format", "paddle")
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert said in line
    assert content(Bundle.open(tiny_bundle.path)) == before


@pytest.mark.skipif(not is_installed("paddle"), reason="paddlepaddle is not installed")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Paddle declares setuptools for this Python")
def test_the_installed_paddle_needs_setuptools(full_bundle: Bundle, tmp_path: Path) -> None:
    present(full_bundle, "paddle")
    first = package(tmp_path / "first", "setuptools", absent("setuptools"))
    (tmp_path / "photo.png").write_bytes(encode(photo(70, 80)))
    words = ["predict", str(tmp_path / "photo.png"), "--model", str(full_bundle.path), "--engine", "paddle"]
    done = ghostclas(first, *words)
    assert (done.returncode, done.stdout) == (5, "")
    (line,) = done.stderr.splitlines()
    assert line == f"error: {BARE}"


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("paddle", "__version__ = '2.6.2'", OLD),
        ("paddle2onnx", absent("paddle2onnx"), "pip install 'ghostclas[paddle2onnx]'"),
    ],
    ids=["another major version", "no paddle2onnx"],
)
def test_an_import_without_its_tools_writes_nothing(name: str, code: str, said: str, tmp_path: Path) -> None:
    if name == "paddle2onnx" and not is_installed("paddle"):
        pytest.skip("paddlepaddle is not installed")
    done = ghostclas(package(tmp_path / "first", name, code), "import", *exported(tmp_path))
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "ours").exists()


def exported(folder: Path) -> list[str]:
    """The words behind ``import`` for a program of two classes that is sound to look at."""
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "inference.pdmodel").write_bytes(program_protobuf())
    (theirs / "inference.pdiparams").write_bytes(pdiparams())
    steps = [{"ResizeImage": {"resize_short": 36}}, {"CropImage": {"size": 32}}, {"NormalizeImage": {}}]
    document = {
        "PreProcess": {"transform_ops": steps},
        "PostProcess": {"Topk": {"topk": 1, "label_list": ["cat", "dog"]}},
    }
    (theirs / "inference.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return [str(theirs), "--output", str(folder / "ours")]


LATER = """
import sys
from pathlib import Path
from ghostclas.exporting.paddle_import import main
sys.version_info = (3, 13, 0)
main(Path(sys.argv[1]))
"""


@pytest.mark.skipif(not is_installed("onnx"), reason="onnx is not installed")
def test_an_import_in_python_3_13_says_that_there_is_no_paddle2onnx(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}", encoding="utf-8")
    subprocess.run([sys.executable, "-c", LATER, str(tmp_path / "job.json")], check=True, capture_output=True)
    outcome = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
    assert outcome["error"] == "MissingExtraError"
    assert outcome["message"] == "there is no Paddle2ONNX for Python 3.13: use Python 3.12 or 3.11"
    assert {path.name for path in tmp_path.iterdir()} == {"job.json", "outcome.json"}
