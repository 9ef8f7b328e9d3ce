"""Where the cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.cache import CACHE_VARIABLE, cache_directory


def test_the_cache_is_where_it_is_asked_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    assert cache_directory() == tmp_path / "elsewhere"
    assert cache_directory(tmp_path) == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_directory().name == "ghostclas"
