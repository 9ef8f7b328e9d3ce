"""Line charts: their points are where their values say, within the axes."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.pages.charts import COLOURS, Chart, Line, drawing

SIDES = {"left": 54.0, "right": 508.0, "top": 14.0, "bottom": 272.0}


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in path.split())]


def test_points_lie_between_round_ticks() -> None:
    drawn = drawing(Chart("top-1", "epoch", [Line("a", [(1, 40.0), (3, 60.0), (5, 80.0)])], unit=" %"))
    assert [text for _, text in drawn["up"]] == ["40 %", "50 %", "60 %", "70 %", "80 %"]
    assert [text for _, text in drawn["across"]] == ["1", "2", "3", "4", "5"]
    assert places(drawn["lines"][0]["path"]) == [(54, 272), (281, 143), (508, 14)]
    assert drawn["lines"][0]["dots"][1] == (281, 143, "a: 60 % at 3")


def test_the_band_goes_there_and_back() -> None:
    line = Line("a", [(0, 50.0), (1, 50.0)], low=[40, 45], high=[60, 55])
    drawn = drawing(Chart("top-1", "epoch", [line]))
    assert places(drawn["lines"][0]["band"]) == [(54, 14), (508, 78.5), (508, 207.5), (54, 272)]


def test_shares_have_no_ticks_beyond_a_hundred() -> None:
    drawn = drawing(Chart("top-1", "epoch", [Line("a", [(1, 99.0), (2, 100.0)])], share=True))
    assert float(drawn["up"][-1][1]) <= 100


def test_many_lines_differ() -> None:
    lines = [Line(str(number), [(0, number), (1, number)]) for number in range(2 * COLOURS)]
    looks = {(line["colour"], line["dash"]) for line in drawing(Chart("c", "x", lines))["lines"]}
    assert len(looks) == 2 * COLOURS


def test_what_is_not_finite_is_left_out() -> None:
    line = Line("a", [(1, 1.0), (2, nan), (3, inf), (4, 2.0)], low=[1, 1, 1, 2], high=[1, 1, 1, 2])
    assert len(places(drawing(Chart("loss", "epoch", [line]))["lines"][0]["path"])) == 2


@pytest.mark.parametrize("lines", [[], [Line("a", [])]])
def test_nothing_is_an_empty_chart(lines: list[Line]) -> None:
    assert drawing(Chart("loss", "epoch", lines))["lines"] == []


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20, unique_by=lambda p: p[0]
    )
)
def test_all_is_within_the_axes(points: list[tuple[float, float]]) -> None:
    drawn = drawing(Chart("c", "x", [Line("a", sorted(points))]))
    for x, y in places(drawn["lines"][0]["path"]):
        assert SIDES["left"] <= x <= SIDES["right"]
        assert SIDES["top"] <= y <= SIDES["bottom"]
    for y, _ in drawn["up"]:
        assert SIDES["top"] <= y <= SIDES["bottom"]
    assert len(drawn["up"]) <= 8
