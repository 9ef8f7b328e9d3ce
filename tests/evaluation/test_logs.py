"""The log of a training run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ghostclas.evaluation.logs import best_entry, column, interval, read_log, spent, top1_line

ENTRIES: list[dict[str, Any]] = [
    {"epoch": 1, "loss": 2.0, "seconds": 10.0, "best": False},
    {"epoch": 2, "loss": 1.5, "seconds": 10.0, "top1": 50.0, "best": True},
    {"epoch": 3, "loss": 1.2, "seconds": 11.0, "top1": 50.0, "best": False},
]


def test_a_line_that_a_kill_cut_off_ends_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    whole = "".join(json.dumps(entry) + "\n" for entry in ENTRIES)
    path.write_text(whole, encoding="utf-8")
    assert read_log(path) == ENTRIES
    for rest in ('{"epoch": 4, "los', "[]\n", '{"loss": 1}\n', '{"epoch": "x"}\n', "\0\n", "[" * 100_000):
        path.write_text(f"{whole}{rest}\n", encoding="utf-8")
        assert read_log(path) == ENTRIES
    with pytest.raises(OSError, match="folder"):
        read_log(tmp_path)


def test_columns_have_the_numbers_that_are_there() -> None:
    assert column(ENTRIES, "top1") == [(2, 50), (3, 50)]
    assert column([{"epoch": 1, "x": "no"}, {"epoch": 2, "x": True}, {"epoch": 3, "x": None}], "x") == []
    assert spent(ENTRIES) == 31


def test_the_best_epoch_is_the_one_that_the_run_kept() -> None:
    assert best_entry(ENTRIES) is ENTRIES[1]
    assert best_entry([{"epoch": 1, "top1": 3.0}, {"epoch": 2, "top1": 4.0}]) == {"epoch": 2, "top1": 4.0}
    assert best_entry(ENTRIES[:1]) is None


def test_the_interval_narrows_with_the_images() -> None:
    low, high = interval(50.0, 100)
    assert (low, high) == pytest.approx((40.38, 59.62), abs=0.01)
    line = top1_line("a", ENTRIES, 10_000)
    assert line.high[0] - line.low[0] < (high - low) / 9
    assert top1_line("a", ENTRIES).low == ()
