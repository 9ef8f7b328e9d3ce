"""The programs of docs/elsewhere.md are run as they are written, beside ``Classifier``."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostclas import imaging
from ghostclas.bundle import default_bundle_path
from ghostclas.prediction import Classifier
from tests import images
from tests.cpp.building import SOURCES, built
from tests.cpp.native import runtime_folder
from tests.real_data import CLOTHING

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "elsewhere.md"
NODE = ROOT / ".venvs" / "node" / "node_modules"
KOTLIN = ROOT / ".venvs" / "kotlin" / "node_modules" / "kotlin-compiler"
STAND_INS = Path(__file__).parent / "programs"
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


def leaves(part: Any, path: str = "") -> Iterator[str]:
    """Yield the leaves of a JSON document, such as ``preprocess.crop=112``."""
    if isinstance(part, dict | list):
        for name, below in part.items() if isinstance(part, dict) else enumerate(part):
            yield from leaves(below, f"{path}.{name}" if path else str(name))
    else:
        yield f"{path}={part}"


def test_the_stand_ins_read_the_leaves_of_a_manifest() -> None:
    assert list(leaves({"a": {"b": 1, "c": ["x", "y"]}})) == ["a.b=1", "a.c.0=x", "a.c.1=y"]


def answers_of(program: Sequence[str | Path], upright: Mapping[str, str], answers: Path) -> str:
    """Run a program that sends pixels and takes logits; return its answers with the photos' own names."""
    crop = manifest()["preprocess"]["crop"]
    with (
        Classifier.load("default", engine="onnxruntime") as classifier,
        subprocess.Popen(
            [*program, answers, *upright], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        while pixels := process.stdout.read(crop * crop * 3):
            (logits,) = classifier.engine.run(np.frombuffer(pixels, np.uint8).reshape(1, crop, crop, 3))
            process.stdin.write(struct.pack(f">i{len(logits)}f", len(logits), *logits))
            process.stdin.flush()
    assert process.returncode == 0
    lines = (line.partition("\t") for line in answers.read_text(encoding="utf-8").splitlines())
    return "".join(f"{upright[path]}\t{rest}\n" for path, _, rest in lines)


def manifest() -> Any:
    return json.loads((default_bundle_path() / "manifest.json").read_text(encoding="utf-8"))


def upright(photos: Sequence[str], folder: Path, ending: str) -> dict[str, str]:
    """Write the photos upright and in RGB, and return the photo of each file."""
    files = {str(folder / f"{number}.{ending}"): photo for number, photo in enumerate(photos)}
    for file, photo in files.items():
        imaging.decode(Path(photo)).save(file)
    return files


@pytest.mark.slow
def test_the_kotlin_program_compiles_and_gives_the_same_scores(
    photos: Sequence[str], right: Scores, tmp_path: Path
) -> None:
    """Android and ONNX Runtime's Java are stand-ins; the test runs the model on the program's pixels."""
    if shutil.which("javac") is None:
        pytest.skip("no javac here")
    if not KOTLIN.is_dir():
        pytest.skip("no kotlin-compiler in .venvs/kotlin, which ./check makes")
    (tmp_path / "label.kt").write_text(program("kotlin"), encoding="utf-8")
    classes = tmp_path / "classes"
    ran(["javac", "-d", classes, *(STAND_INS / "kotlin").rglob("*.java")])
    compiler = os.pathsep.join(map(str, sorted((KOTLIN / "lib").glob("*.jar"))))
    kotlinc: list[str | Path] = ["java", "-cp", compiler, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    sources = [tmp_path / "label.kt", STAND_INS / "kotlin" / "main.kt"]
    options: list[str | Path] = ["-kotlin-home", KOTLIN, "-no-reflect", "-classpath", classes, "-d", classes]
    ran([*kotlinc, *options, *sources])
    (tmp_path / "leaves").write_text("\n".join(leaves(manifest())), encoding="utf-8")
    both = os.pathsep.join([str(classes), compiler])
    run: list[str | Path] = ["java", "-cp", both, "MainKt", tmp_path / "leaves"]
    printed = answers_of(run, upright(photos, tmp_path, "png"), tmp_path / "answers")
    found = difference(printed, right)
    print(f"Kotlin, {len(photos)} photos: {found:.1e}")
    assert found <= CLOSE


@pytest.mark.slow
def test_the_swift_program_compiles_and_gives_the_same_scores(
    photos: Sequence[str], right: Scores, tmp_path: Path
) -> None:
    """ONNX Runtime's package is a stand-in; the test runs the model on the program's pixels."""
    swiftc = shutil.which("swiftc")
    if swiftc is None:
        pytest.skip("no swiftc here")
    (tmp_path / "label.swift").write_text(program("swift"), encoding="utf-8")
    bindings = tmp_path / "libOnnxRuntimeBindings.a"
    library: list[str | Path] = ["-emit-library", "-static", "-emit-module", "-parse-as-library"]
    module = tmp_path / "OnnxRuntimeBindings.swiftmodule"
    names: list[str | Path] = [
        "-module-name",
        "OnnxRuntimeBindings",
        "-emit-module-path",
        module,
        "-o",
        bindings,
    ]
    ran([swiftc, *library, *names, STAND_INS / "swift" / "bindings.swift"])
    sources = [tmp_path / "label.swift", STAND_INS / "swift" / "main.swift"]
    ran([swiftc, "-O", "-I", tmp_path, *sources, bindings, "-o", tmp_path / "label"])
    run = [tmp_path / "label", default_bundle_path() / "manifest.json"]
    printed = answers_of(run, upright(photos, tmp_path, "ppm"), tmp_path / "answers")
    found = difference(printed, right)
    print(f"Swift, {len(photos)} photos: {found:.1e}")
    assert found <= CLOSE
