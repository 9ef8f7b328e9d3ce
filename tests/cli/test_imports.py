"""``ghostclas import``: mistakes are one line; exporting/test_paddle_import.py tests what it imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.cli import main
from tests.paddle_made import pdiparams


def test_another_toolkit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path), "--from", "caffe", "--output", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err == "error: models are imported from paddle, not from 'caffe'\n"


def test_a_folder_without_a_program_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "inference.pdiparams").write_bytes(pdiparams())
    assert main(["import", str(tmp_path), "--output", str(tmp_path / "b")]) == 2
    assert "inference.pdiparams is there, and its program is not" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
