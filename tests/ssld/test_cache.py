"""The cache keeps written rows through kills, full disks and damaged files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghostclas.errors import DataError
from tests.full_disk import largest_file
from tests.ssld.caches import opened, rows


def test_rows_of_several_shards_come_back_by_their_keys(tmp_path: Path) -> None:
    cache = opened(tmp_path / "cache")
    parts = [rows(3, seed) for seed in range(4)]
    for part in parts:
        cache.append(*part)
    keys = np.concatenate([keys for keys, _ in parts])[::-1]
    values = np.concatenate([columns["logits"] for _, columns in parts])[::-1]
    again = opened(tmp_path / "cache")
    np.testing.assert_array_equal(again.read("logits", again.find(keys)), values)
    assert len(again) == 12
    assert again.find(rows(2, seed=9)[0]).tolist() == [-1, -1]


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    cache = opened(tmp_path / "cache")
    keys, columns = rows(1)
    cache.append(keys, columns)
    other = keys.copy()
    other[0, 31] ^= 1
    assert cache.find(other).tolist() == [-1]


def test_a_cache_of_another_teacher_is_refused_and_both_are_named(tmp_path: Path) -> None:
    opened(tmp_path / "cache").append(*rows(2))
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "cache", teacher="another", digest="cd" * 32)
    assert "holds the logits of another teacher" in str(caught.value)
    assert "there: somebody (sha256 abababababab, 4 outputs)" in str(caught.value)
    assert "now:   another (sha256 cdcdcdcdcdcd, 4 outputs)" in str(caught.value)
    assert "choose another --cache" in str(caught.value)


def test_a_cache_of_other_views_is_refused_and_the_difference_is_named(tmp_path: Path) -> None:
    opened(tmp_path / "cache")
    with pytest.raises(DataError, match="other views of the images: crop 64, not 96"):
        opened(tmp_path / "cache", view={"crop": 96})


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no cache"):
        opened(tmp_path)


def test_a_writer_that_is_killed_leaves_what_it_had_written(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_cache.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "cache")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parents[2]), *sys.path])},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list((tmp_path / "cache").glob(".*.tmp")), "it was killed in the middle of writing"
    cache = opened(tmp_path / "cache")
    assert (cache.find(rows(5)[0]) >= 0).all()
    assert len(cache) == 5
    cache.append(*rows(5, seed=1))
    assert len(opened(tmp_path / "cache")) == 10


def test_what_killed_writers_left_behind_is_swept_away_a_day_later(tmp_path: Path) -> None:
    opened(tmp_path / "cache")
    old, young = (tmp_path / "cache" / f".{name}.tmp" for name in ("old", "young"))
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, 0))
    opened(tmp_path / "cache")
    assert not old.exists()
    assert young.exists(), "another writer may be at it"


def test_a_full_disk_is_one_error_and_leaves_the_cache_sound(tmp_path: Path) -> None:
    cache = opened(tmp_path / "cache")
    cache.append(*rows(5))
    with largest_file(2000), pytest.raises(DataError) as caught:
        cache.append(*rows(500, seed=1))
    assert "cannot write logits to" in str(caught.value)
    assert "make room, then run the same command again" in str(caught.value)
    assert not list((tmp_path / "cache").glob(".*.tmp"))
    again = opened(tmp_path / "cache")
    assert (again.find(rows(5)[0]) >= 0).all()
    assert len(again) == 5


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_damaged_shard_is_warned_about_and_left_out(tmp_path: Path, kept: int) -> None:
    cache = opened(tmp_path / "cache")
    cache.append(*rows(5))
    cache.append(*rows(5, seed=1))
    shard = sorted((tmp_path / "cache").glob("shard-*"))[0]
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.warns(UserWarning, match="is damaged"):
        again = opened(tmp_path / "cache")
    assert (again.find(rows(5)[0]) == -1).all()
    assert (again.find(rows(5, seed=1)[0]) >= 0).all()
