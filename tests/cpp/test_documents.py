"""The Linux commands and the programs of docs/cpp.md are run as they are written, but for optimization."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from importlib.metadata import version
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
        env={
            **os.environ,
            "HOME": str(home),
            # The commands say nothing of optimization, which would take most of the time.
            "CMAKE_BUILD_TYPE": "None",
            # pip finds the wheel of what is installed here, and asks no server.
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(home),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_wheel(folder: Path) -> None:
    """Pack the library of the installed ONNX Runtime as it is in its wheel."""
    release = version("onnxruntime")
    (library,) = runtime_folder().glob("libonnxruntime.so.*")
    about = f"onnxruntime-{release}.dist-info"
    with zipfile.ZipFile(folder / f"onnxruntime-{release}-py3-none-any.whl", "w") as archive:
        archive.write(library, f"onnxruntime/capi/{library.name}")
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: onnxruntime\nVersion: {release}\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the sources, an installation by the commands of the document, and a photo."""
    built("ghostclas")  # or skips the test: the libraries are not here
    home = tmp_path_factory.mktemp("home")
    (home / "src").symlink_to(ROOT / "src")
    (home / "cpp").mkdir()
    for path in SOURCES.iterdir():
        if path.name != "build":
            (home / "cpp" / path.name).symlink_to(path)
    (home / "photo.jpg").write_bytes(images.encode(images.photo(300, 200), "JPEG"))
    make_wheel(home)
    for command in blocks("sh")[0].splitlines():
        said = run(command, home, home)
    assert said.startswith('{"file":"photo.jpg","top":[')
    return home


@pytest.mark.slow
def test_the_debian_package_holds_the_program(home: Path) -> None:
    for tool in ("dpkg-deb", "dpkg-shlibdeps", "file"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here: no Debian package is made")
    (command,) = re.findall(r"`(cpack [^`]+)`", TEXT)
    run(command, home, home)
    (package,) = home.glob("ghostclas_*.deb")
    members = run(f"dpkg-deb --contents {package}", home, home)
    for member in (
        *("bin/ghostclas-infer", "lib/libghostclas.so", "include/ghostclas/ghostclas.h"),
        *("lib/pkgconfig/ghostclas.pc", "lib/cmake/ghostclas/ghostclas-config.cmake"),
        "share/ghostclas/ghostnet_x1_0_tiny200/manifest.json",
    ):
        assert re.search(rf" \./usr/{member}$| \./usr/{member} -> ", members, re.MULTILINE), (member, members)
    needed = run(f"dpkg-deb --field {package} Depends", home, home)
    for library in ("libc6", "libjpeg", "libwebp", "zlib1g"):
        assert library in needed
    run(f"dpkg-deb --extract {package} unpacked", home, home)
    answer = run("unpacked/usr/bin/ghostclas-infer --runtime ~/ghostclas/lib/ghostclas photo.jpg", home, home)
    assert answer == run("~/ghostclas/bin/ghostclas-infer photo.jpg", home, home)


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


@pytest.mark.slow
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
