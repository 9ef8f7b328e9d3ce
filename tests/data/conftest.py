"""A small folder of labelled images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.stored import COUNTS
from tests.data.trees import make_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", COUNTS)
