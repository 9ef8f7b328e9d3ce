"""A small bundle, as a folder and as archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from tests.bundle.made import write


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write(tmp_path / "bundle")
