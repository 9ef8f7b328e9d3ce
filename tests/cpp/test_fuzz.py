"""Every decoder under sanitizers, for a few seconds; ``benchmarks/fuzz_cpp.py`` runs as long as one likes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_decoder_has_a_finding() -> None:
    missing = [tool for tool in ("cmake", "clang++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"nothing is fuzzed here: {' and '.join(missing)} not found")
    ran = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "fuzz_cpp.py"), "--seconds", "3"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if "Could NOT find" in ran.stderr or "libclang_rt" in ran.stderr:
        pytest.skip(f"nothing is fuzzed here: {ran.stderr.strip()[-300:]}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("no finding") == 8
