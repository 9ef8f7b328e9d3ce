"""``verify`` accepts exported bundles."""

from __future__ import annotations

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli import main


def test_verify_passes_what_was_exported(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small_bundle.path)]) == 0
    assert "model.onnx" in capsys.readouterr().out
