"""The data sets of real photos, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("GHOSTCLAS_DATA") or Path(__file__).parents[2] / "shared" / "data")
TINY = DATA / "tiny-imagenet-200.zip"
CLOTHING = DATA / "clothing"


def _needs(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not path.exists(), reason=f"no {path}; GHOSTCLAS_DATA names its folder")


needs_tiny = _needs(TINY)
needs_clothing = _needs(CLOTHING)
