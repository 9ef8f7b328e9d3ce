"""What is declared by hand of ONNX Runtime's C API is what its own header says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cpp.building import SOURCES, run

HEADER = "onnxruntime_c_api.h"
PLACES = (SOURCES / "build" / "runtime-header", Path("/usr/include/onnxruntime"))


def test_the_table_of_functions_is_that_of_the_header() -> None:
    folder = next((place for place in PLACES if (place / HEADER).is_file()), None)
    if folder is None or shutil.which("g++") is None:
        pytest.skip(f"no g++, or no {HEADER}: cpp/cmake/runtime-header {PLACES[0]} brings it")
    include = ("-isystem", str(folder), "-I", str(SOURCES / "src"))
    checked = run("g++", "-std=c++17", "-fsyntax-only", "-w", *include, "tests/ort_abi_check.cpp")
    assert checked.returncode == 0, checked.stderr
