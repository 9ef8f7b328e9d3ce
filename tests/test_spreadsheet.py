"""Cells that a spreadsheet shows and does not run."""

from __future__ import annotations

import pytest

from ghostclas.spreadsheet import inert, plain

FORMULAS = ["=cmd|'/c calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_could_be_a_formula_begins_with_an_apostrophe(cell: str) -> None:
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "cat", "'s", "a=b", "小狗", "0.5", "''"])
def test_any_other_cell_stays(cell: str) -> None:
    assert inert(cell) == plain(cell) == cell


@pytest.mark.parametrize("cell", [*FORMULAS, "'=1", "''-1", "'", "cat"])
def test_a_cell_comes_back_as_it_was(cell: str) -> None:
    assert plain(inert(cell)) == cell
