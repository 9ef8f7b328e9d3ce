"""Builds what is under ``cpp`` with CMake, once for all processes of a run."""

from __future__ import annotations

import shutil
import subprocess
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


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, encoding="utf-8", check=False)
