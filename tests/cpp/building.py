"""Builds what is under ``cpp`` with CMake, once for all processes of a run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from ghostclas.files import lock

SOURCES = Path(__file__).parents[2] / "cpp"
BUILD = SOURCES / "build" / "gcc"
"""Of the preset ``gcc``, which ``./check cpp`` builds whole."""
_WAIT = 600.0


@cache
def built(target: str) -> Path:
    """Build a target and return the folder of all that is built; skip where building is not possible.

    The folder stays, so that a second run compiles what has changed.
    """
    missing = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the C++ engine is not built here: {' and '.join(missing)} not found")
    BUILD.mkdir(parents=True, exist_ok=True)
    with lock(BUILD / "lock", wait=_WAIT, say=lambda _: None):
        configured = run("cmake", "--preset", "gcc")
        if configured.returncode and "Could NOT find" in configured.stderr:
            pytest.skip(f"the C++ engine is not built here: {configured.stderr.strip()[:300]}")
        assert configured.returncode == 0, configured.stderr
        compiled = run("cmake", "--build", str(BUILD), "--target", target, "--parallel", "2")
        assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    return BUILD


def pass_on_another_system(folder: Path, targets: Sequence[str], *options: str) -> None:
    """Cross-build the targets and run the tests that need no Python; CMake's options name the system.

    Optimized little: the compiler then takes a third less time, and the emulated programs do not need more.
    """
    if shutil.which("cmake") is None:
        pytest.skip("the C++ engine is not built here: cmake not found")
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / "lock", wait=_WAIT, say=lambda _: None):
        quick = "-DCMAKE_CXX_FLAGS_RELEASE=-O1"
        configured = run("cmake", "-B", str(folder), quick, *options)
        assert configured.returncode == 0, configured.stderr
        compiled = run("cmake", "--build", str(folder), "--parallel", "2", "--target", *targets)
        assert compiled.returncode == 0, compiled.stdout + compiled.stderr
        names = "|".join(target.split("_")[1] for target in targets if target.endswith("_test"))
        tested = run("ctest", "--test-dir", str(folder), "-R", f"^({names})$", "--output-on-failure")
    assert tested.returncode == 0, tested.stdout
    assert "100% tests passed" in tested.stdout, tested.stdout


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, encoding="utf-8", check=False)
