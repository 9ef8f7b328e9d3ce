"""The commands and programs of docs/cpp.md are run as they are written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests import images
from tests.cpp.building import SOURCES, built
from tests.cpp.native import runtime_folder

ROOT = SOURCES.parent
TEXT = (ROOT / "docs" / "cpp.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run(command: str, folder: Path, home: Path) -> str:
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with an installation by the commands of the document, and a photo."""
    home = tmp_path_factory.mktemp("home")
    for target in ("ghostclas", "ghostclas-infer"):
        build = built(target)
    (home / "cpp").symlink_to(SOURCES)
    (home / "photo.jpg").write_bytes(images.encode(images.photo(300, 200), "JPEG"))
    # The wheel that is installed, so that nothing is downloaded.
    wheel = home / "onnxruntime-0-py3-none-any.whl"
    (library,) = runtime_folder().glob("libonnxruntime.so.*")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library, f"onnxruntime/capi/{library.name}")
    _, compile_, install, fetch, predict = blocks("sh")[0].splitlines()
    assert compile_ == "cmake --build cpp/build/release --parallel"
    run(install.replace("cpp/build/release", str(build)), home, home)
    run(f"{fetch} --wheel {wheel}", home, home)
    assert run(predict, home, home).startswith('{"file":"photo.jpg","top":[')
    return home


def test_a_program_finds_the_package_by_cmake(home: Path) -> None:
    (home / "label").mkdir()
    (home / "label" / "label.cpp").write_text(blocks("cpp")[0], encoding="utf-8")
    (home / "label" / "CMakeLists.txt").write_text(blocks("cmake")[0], encoding="utf-8")
    said = run(blocks("sh")[1], home, home)
    answer = run("~/ghostclas/bin/ghostclas-infer photo.jpg --top 1", home, home)
    label = re.search(r'"label":"([^"]+)"', answer)
    assert label
    assert said.splitlines()[-1].startswith(label[1])
    # An exception of the library is caught in the program.
    shutil.move(home / "ghostclas/lib/ghostclas", home / "away")
    done = subprocess.run(
        [home / "label/build/label", "photo.jpg"], capture_output=True, text=True, check=False
    )
    shutil.move(home / "away", home / "ghostclas/lib/ghostclas")
    assert done.returncode == 5
    assert done.stderr.startswith("ONNX Runtime was not found: looked for libonnxruntime.so* in ")
    assert "get it with: cpp/get-runtime FOLDER" in done.stderr


def test_a_program_in_c_is_linked_by_pkg_config(home: Path) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    (home / "lines.c").write_text(blocks("c")[0], encoding="utf-8")
    said = run(blocks("sh")[2], home, home)
    assert said == run("~/ghostclas/bin/ghostclas-infer photo.jpg", home, home)


def test_the_headers_hold_nothing_that_is_not_installed() -> None:
    for header in (SOURCES / "include/ghostclas").iterdir():
        for name in re.findall(r'#include "([^"]+)"', header.read_text(encoding="utf-8")):
            assert (SOURCES / "include" / name).is_file()
