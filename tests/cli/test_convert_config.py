"""``ghostclas convert-config``: mistakes are one line; training/test_paddle_config.py tests the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.cli import main


def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text("x: 1\n", encoding="utf-8")
    assert main(["convert-config", str(tmp_path / "a.yaml")]) == 3
    assert "is no training configuration of PaddleClas: it has no Arch" in capsys.readouterr().err
