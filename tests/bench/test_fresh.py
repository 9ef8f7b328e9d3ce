"""Measurements of a new process, and the errors of one that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ghostclas.bench.fresh import run_fresh
from ghostclas.bench.photos import drawn_photos
from ghostclas.errors import GhostclasError


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    drawn_photos(tmp_path, 1)
    with pytest.raises(GhostclasError, match=r"a fresh process with onnxruntime fp32 failed: .*no model"):
        run_fresh(tmp_path / "nothing", "onnxruntime", "fp32", tmp_path / "00000.jpg")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for Python")
def test_what_a_fresh_process_says_in_one_breath_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\nprintf 'cat\\n{"images_per_second": null, "peak_memory": 5}\\n'\n""")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    for _ in range(5):
        assert run_fresh("model", "onnxruntime", "fp32", tmp_path / "photo.jpg").peak_memory == 5
