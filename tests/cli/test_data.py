"""``data audit`` and ``data prepare`` as commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.cli import main
from tests.data.trees import make_folder


def test_a_clean_folder_exits_with_0(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", str(make_folder(tmp_path, {"ant": 3, "bee": 3}))]) == 0
    assert "no leaks, and every file can be read" in capfd.readouterr().out


def test_duplicates_alone_exit_with_0(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path, {"ant": 3, "bee": 3})
    (root / "ant" / "again.jpg").write_bytes((root / "ant" / "000.jpg").read_bytes())
    assert main(["data", "audit", str(root)]) == 0
    assert "duplicates within a split: 1" in capfd.readouterr().out
