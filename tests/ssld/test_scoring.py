"""Scoring resumes after a stop, and processes share it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.data.pool import open_pool
from ghostclas.ssld import TeacherConfig, open_cache, open_teacher, score, scoring


def test_a_stopped_scoring_goes_on_where_it_was(
    colours: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "SHARD", 2)
    teacher = open_teacher(TeacherConfig(model=str(colours[0])), threads=1)
    pool = open_pool(colours[2])

    def stop(done: int, total: int | None) -> None:
        if done == 7:
            raise KeyboardInterrupt

    cache = open_cache(teacher, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        score(teacher, pool, cache, batch_size=1, progress=stop)
    there = len(open_cache(teacher, tmp_path / "cache"))
    assert 0 < there < 9
    scores = score(teacher, pool, open_cache(teacher, tmp_path / "cache"), batch_size=1)
    assert scores.scored == 9 - there
    again = score(teacher, pool, open_cache(teacher, tmp_path / "cache"))
    assert again.scored == 0
    np.testing.assert_array_equal(again.logits(again.readable), scores.logits(scores.readable))


def test_processes_that_share_the_work_fill_one_cache(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    teacher = open_teacher(TeacherConfig(model=str(colours[0])), threads=1)
    pool = open_pool(colours[2])
    parts = [
        score(teacher, pool, open_cache(teacher, tmp_path / "c"), share=(rank, 2)).scored for rank in (0, 1)
    ]
    assert parts == [5, 4]
    assert score(teacher, pool, open_cache(teacher, tmp_path / "c")).scored == 0
