"""Parquet files as Hugging Face writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ghostclas.data import open_source
from ghostclas.data.parquet import ParquetSource
from ghostclas.errors import DataError
from tests.data.stored import in_parquet
from tests.limited import run_python


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


OPENING = """
import sys
from pathlib import Path
from ghostclas.data import open_source
from ghostclas.errors import DataError, ImageError
for file in sorted(Path(sys.argv[1]).glob("*.parquet")):
    try:
        source = open_source(file)
        print(file.stem, len(source.samples), len(source.read(0)))
    except ImageError as error:
        print(file.stem, error.code, len(str(error).splitlines()))
    except DataError as error:
        print(file.stem, "refused", len(str(error).splitlines()), len(str(error)) < 1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_hostile_file_takes_one_line_and_little_memory(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    binary = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    numbers = pa.struct([("bytes", pa.int64()), ("path", pa.string())])
    photo = {"bytes": b"x" * 1_000_000, "path": None}
    for name, images, labels, kind in (
        ("good", [photo], [0], binary),
        ("repeated", [photo] * 300, [0] * 300, binary),
        ("rows", [None] * 500_000, [0] * 500_000, binary),
        ("numbers", [{"bytes": 10**11, "path": None}], [0], numbers),
        ("lists", [photo], [[0]], binary),
    ):
        table = pa.table({"image": pa.array(images, kind), "label": labels})
        pq.write_table(table, tmp_path / f"{name}.parquet", compression="zstd")
    good = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "footer.parquet").write_bytes(good[:-8] + (1 << 31).to_bytes(4, "little") + b"PAR1")
    (tmp_path / "zeroed.parquet").write_bytes(good[:-500] + bytes(400) + good[-100:])
    outcome = run_python(OPENING, tmp_path)
    assert outcome.stdout.splitlines() == [
        "footer refused 1 True",
        "good 1 1000000",
        "lists refused 1 True",
        "numbers refused 1 True",
        "repeated unreadable 1",
        "rows refused 1 True",
        "zeroed refused 1 True",
    ], outcome
    assert outcome.cpu_seconds < 15
    assert outcome.peak_bytes < 600e6
