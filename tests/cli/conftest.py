"""The small model behind ``predict``, and a folder of photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from tests import images

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run predict on the small model; returns exit code, stdout and stderr."""

    def predict(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["predict", "--model", str(small_bundle.path), *map(str, arguments)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return predict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good photos in two folders, and one file that is none."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for seed, name in enumerate(("b.png", "a.jpg", "sub/c.webp")):
        kind = {"png": "PNG", "jpg": "JPEG", "webp": "WebP"}[name.rpartition(".")[2]]
        (root / name).write_bytes(images.encode(images.photo(80, 60, seed), kind))
    (root / "notes.txt").write_text("not a photo", encoding="utf-8")
    return root
