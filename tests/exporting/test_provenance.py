"""When a bundle was made, and by what."""

from __future__ import annotations

import numpy as np
import pytest

import ghostclas
from ghostclas.exporting.provenance import made_now


def test_it_names_the_day_and_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    expected = {"date": "1970-01-02", "ghostclas": ghostclas.__version__, "numpy": np.__version__}
    assert made_now("numpy") == expected
