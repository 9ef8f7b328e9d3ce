"""``verify`` accepts exported bundles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from tests.full_disk import largest_file


def test_verify_passes_what_was_exported(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small_bundle.path)]) == 0
    assert "model.onnx" in capsys.readouterr().out


def test_a_full_disk_is_one_line_after_the_result_and_the_bundle_stays(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "model"
    shutil.copytree(small_bundle.path, place)
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    with largest_file(1000):
        assert main(["verify", str(place), "--record"]) == 4
    shown = capsys.readouterr()
    assert "model.onnx" in shown.out
    assert shown.err == (
        f"error: {place} cannot be written: File too large; it is as it was before. "
        "Make room, or choose another folder\n"
    )
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
