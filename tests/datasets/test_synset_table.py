"""The table of synsets is read by another process, which may die."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ghostclas.datasets import synset_table
from ghostclas.datasets.synset_table import read_synsets
from ghostclas.errors import DataError


def table() -> bytes:
    dtype = [(name, "O") for name in ("ILSVRC2012_ID", "WNID", "words", "num_children")]
    rows = [(1, "n01440764", "tench, Tinca", 0), (2, "n00001740", "entity", 3)]
    content = io.BytesIO()
    savemat(content, {"synsets": np.array(rows, dtype=dtype).reshape(-1, 1)})
    return content.getvalue()


def test_classes_are_the_synsets_without_children() -> None:
    assert read_synsets(table(), "meta.mat") == [(1, "n01440764", "tench, Tinca")]


def test_a_damaged_table_is_one_line() -> None:
    with pytest.raises(DataError, match=r"^a/meta\.mat is no table of synsets: [^\n]{3,220}$"):
        read_synsets(table()[:300], "a/meta.mat")


def test_a_table_that_ends_its_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synset_table, "__name__", "dying")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(DataError, match=r"meta.mat is no table of synsets: it ends scipy's process"):
        read_synsets(table(), "meta.mat")
