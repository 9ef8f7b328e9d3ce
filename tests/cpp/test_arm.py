"""The portable tests as 64-bit Arm programs, on an emulated processor."""

from __future__ import annotations

import shutil

import pytest

from ghostclas.files import lock
from tests.cpp.building import SOURCES, run

FOLDER = SOURCES / "build" / "arm"
LIBRARIES = SOURCES / "build" / "aarch64-libraries"


@pytest.mark.slow
def test_the_portable_tests_pass_on_arm() -> None:
    for tool, package in (("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"), ("qemu-aarch64", "qemu-user")):
        if shutil.which(tool) is None:
            pytest.skip(f"no Arm programs are built here: no {tool}; apt-get install {package}")
    if not (LIBRARIES / "usr").is_dir():
        pytest.skip(f"no Arm libraries: cpp/cmake/aarch64-libraries {LIBRARIES} brings them")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with lock(FOLDER / "lock", wait=600, say=lambda _: None):
        toolchain = SOURCES / "cmake" / "aarch64.cmake"
        options = ["-DGHOSTCLAS_WERROR=ON", "-DGHOSTCLAS_AVIF=OFF", "-DGHOSTCLAS_TIFF=OFF"]
        configured = run(
            "cmake", "-S", str(SOURCES), "-B", str(FOLDER), f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", *options
        )
        assert configured.returncode == 0, configured.stderr
        built = run("cmake", "--build", str(FOLDER), "--target", "ghostclas_pixels_test", "--parallel", "2")
        assert built.returncode == 0, built.stdout + built.stderr
    tested = run("ctest", "--test-dir", str(FOLDER), "-R", "^pixels$", "--output-on-failure")
    assert tested.returncode == 0, tested.stdout
    assert "100% tests passed" in tested.stdout
