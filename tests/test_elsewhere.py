"""The programs of docs/elsewhere.md are run as they are written, beside ``Classifier``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import default_bundle_path
from ghostclas.prediction import Classifier
from tests import images
from tests.cpp.building import SOURCES, built
from tests.cpp.native import runtime_folder
from tests.real_data import CLOTHING

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "elsewhere.md"
NODE = ROOT / ".venvs" / "node" / "node_modules"
MAX_LINES = 40
PHOTOS = 100
SAME = 1e-5
"""Scores are printed with six places, and a batch of four adds up in another order than a single photo."""
CLOSE = 1e-3

Scores = Mapping[str, Mapping[str, float]]


def program(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Photos of the clothing data, where it is, and drawn ones: turned, transparent, grey, narrow."""
    folder = tmp_path_factory.mktemp("drawn")
    drawn = {
        "wide.jpg": images.encode(images.photo(300, 200), "JPEG", quality=95),
        "turned.jpg": images.encode(images.photo(300, 200), "JPEG", quality=95, exif=images.exif(6)),
        "narrow.png": images.encode(images.photo(40, 700), "PNG"),
        "small.png": images.encode(images.photo(50, 61), "PNG"),
        "grey.png": images.encode(images.photo(200, 160)[..., 0], "PNG"),
        "glass.png": images.encode(
            np.dstack([images.photo(200, 160), images.photo(200, 160, 1)[..., 0]]), "PNG"
        ),
    }
    for name, data in drawn.items():
        (folder / name).write_bytes(data)
    real = sorted((CLOTHING / "val").rglob("*.jpg"))
    chosen = real[:: max(len(real) // PHOTOS, 1)][:PHOTOS]
    return [*(str(folder / name) for name in drawn), *map(str, chosen)]


@pytest.fixture(scope="module")
def right(photos: Sequence[str]) -> Scores:
    with Classifier.load("default", engine="onnxruntime") as classifier:
        answers = classifier.predict(photos, top=len(classifier.classes))
    return {str(answer.file): {label.label: label.score for label in answer.top} for answer in answers}


def difference(printed: str, right: Scores) -> float:
    """Return the largest difference of a printed score; the five of a photo are its best, best first."""
    lines = [line.split("\t") for line in printed.splitlines()]
    assert [file for file, _, _ in lines] == [file for file in right for _ in range(5)]
    for best in range(0, len(lines), 5):
        scores = [float(score) for _, score, _ in lines[best : best + 5]]
        assert scores == sorted(scores, reverse=True)
        assert abs(scores[4] - sorted(right[lines[best][0]].values())[-5]) <= CLOSE
    return max(abs(float(score) - right[file][label]) for file, score, label in lines)


def ran(command: Sequence[str | Path], **more: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, env={**os.environ, **more}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("language", ["python", "js", "cpp", "kotlin", "swift"])
def test_each_program_is_short(language: str) -> None:
    assert program(language).count("\n") <= MAX_LINES


def test_the_python_program_gives_the_same_scores(
    photos: Sequence[str], right: Scores, tmp_path: Path
) -> None:
    script = tmp_path / "label.py"
    script.write_text(program("python"), encoding="utf-8")
    found = difference(ran([sys.executable, script, default_bundle_path(), *photos]), right)
    print(f"Python, {len(photos)} photos: {found:.1e}")
    assert found <= SAME


def test_the_javascript_program_gives_the_same_scores(
    photos: Sequence[str], right: Scores, tmp_path: Path
) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (NODE / "onnxruntime-node").is_dir() or not (NODE / "sharp").is_dir():
        pytest.skip("no onnxruntime-node and sharp in .venvs/node, which ./check makes")
    (tmp_path / "label.mjs").write_text(program("js"), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(NODE)
    found = difference(ran([node, tmp_path / "label.mjs", default_bundle_path(), *photos]), right)
    print(f"JavaScript, {len(photos)} photos: {found:.1e}")
    assert found <= CLOSE


def test_the_cpp_program_gives_the_same_scores(photos: Sequence[str], right: Scores, tmp_path: Path) -> None:
    folder = built("ghostclas") / "lib"
    (tmp_path / "label.cpp").write_text(program("cpp"), encoding="utf-8")
    options = [
        "-std=c++17",
        "-Wall",
        "-Werror",
        f"-I{SOURCES / 'include'}",
        f"-L{folder}",
        f"-Wl,-rpath,{folder}",
    ]
    ran(["g++", *options, "-o", tmp_path / "label", tmp_path / "label.cpp", "-lghostclas"])
    runtime = {"GHOSTCLAS_ONNXRUNTIME": str(runtime_folder())}
    found = difference(ran([tmp_path / "label", default_bundle_path(), *photos], **runtime), right)
    print(f"C++, {len(photos)} photos: {found:.1e}")
    assert found <= SAME
