"""The portable tests as 64-bit Arm programs, on an emulated processor."""

from __future__ import annotations

import shutil

import pytest

from tests.cpp.building import SOURCES, pass_on_another_system

LIBRARIES = SOURCES / "build" / "aarch64-libraries"


@pytest.mark.parametrize(
    "target", ["ghostclas_pixels_test", pytest.param("ghostclas_engine_test", marks=pytest.mark.slow)]
)
def test_the_portable_tests_pass_on_arm(target: str) -> None:
    for tool, package in (("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"), ("qemu-aarch64", "qemu-user")):
        if shutil.which(tool) is None:
            pytest.skip(f"no Arm programs are built here: no {tool}; apt-get install {package}")
    if not (LIBRARIES / "usr").is_dir():
        pytest.skip(f"no Arm libraries: cpp/cmake/aarch64-libraries {LIBRARIES} brings them")
    pass_on_another_system(SOURCES / "build" / "arm", [target], "--preset", "aarch64")
