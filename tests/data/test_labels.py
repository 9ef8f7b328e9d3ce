"""Label files, and labels that are numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.data import open_source
from ghostclas.data.labels import read_label_file
from ghostclas.errors import DataError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 bee\n0 ant, red\n", ("ant, red", "bee")),
        ("ant\nbee\n", ("ant", "bee")),
        ("3 musketeers\n1 ring\n", ("3 musketeers", "1 ring")),
        ("0 crane\n1 crane\n", ("crane (0)", "crane (1)")),
    ],
)
def test_label_files_are_numbered_or_plain(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read_label_file(tmp_path / "labels.txt") == names


def test_numbers_that_are_no_indices_do_not_make_a_million_classes(photos: Path) -> None:
    listed = photos / "list.txt"
    listed.write_text("ant/000.jpg 3\nbee/000.jpg 1000234\n")
    with pytest.raises(DataError, match="uses the label 1000234, but only 2 different labels"):
        open_source(listed)
    listed.write_text("ant/000.jpg 3\nbee/000.jpg 999\n")
    assert len(open_source(listed).classes) == 1000
