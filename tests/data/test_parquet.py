"""Parquet files as Hugging Face writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.data import open_source
from ghostclas.data.parquet import ParquetSource
from ghostclas.errors import DataError
from tests.data.stored import in_parquet


def test_parquet_reads_one_row_group_at_a_time_and_keeps_few(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.data.parquet.CACHE_BYTES", 1)
    source = open_source(in_parquet(photos, tmp_path))
    assert isinstance(source, ParquetSource)
    order = np.random.default_rng(0).permutation(len(source.samples))
    folder = open_source(photos)
    for index in order:
        assert source.read(int(index)) == folder.read(int(index))
        assert len(source._cache) == 1


def test_parquet_without_image_and_label_columns_names_what_it_has(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "score": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has the columns text, score"):
        open_source(tmp_path / "x.parquet")
