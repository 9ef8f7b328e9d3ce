"""Line charts: their points are where their values say, within the axes."""

from __future__ import annotations

from math import inf, nan
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostclas.pages.charts import COLOURS, Chart, Line, drawing, picture

SIDES = {"left": 62.0, "right": 508.0, "top": 14.0, "bottom": 272.0}


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in path.split())]


def test_points_lie_between_round_ticks() -> None:
    drawn = drawing(Chart("top-1", "epoch", [Line("a", [(1, 40.0), (3, 60.0), (5, 80.0)])], unit=" %"))
    assert [text for _, text in drawn["up"]] == ["40 %", "50 %", "60 %", "70 %", "80 %"]
    assert [text for _, text in drawn["across"]] == ["1", "2", "3", "4", "5"]
    assert places(drawn["lines"][0]["path"]) == [(62, 272), (285, 143), (508, 14)]
    assert drawn["lines"][0]["dots"][1] == (285, 143, "a: 60 % at 3")


def test_the_band_goes_there_and_back() -> None:
    line = Line("a", [(0, 50.0), (1, 50.0)], low=[40, 45], high=[60, 55])
    drawn = drawing(Chart("top-1", "epoch", [line]))
    assert places(drawn["lines"][0]["band"]) == [(62, 14), (508, 78.5), (508, 207.5), (62, 272)]


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


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    line = Line("a", [(1, 1.0), (2, 10.0), (4, 100.0)])
    drawn = drawing(Chart("c", "threads", [line], ticks=(1, 2, 4), log_x=True, log_y=True))
    assert places(drawn["lines"][0]["path"]) == [(62, 272), (285, 143), (508, 14)]
    assert [text for _, text in drawn["up"]] == ["1", "2", "5", "10", "20", "50", "100"]
    assert [text for _, text in drawn["across"]] == ["1", "2", "4"]


@given(st.floats(1e-3, 1e6), st.floats(1, 1e6))
def test_logarithmic_ticks_span_the_values(low: float, ratio: float) -> None:
    line = Line("a", [(1, low), (2, low * ratio)])
    drawn = drawing(Chart("c", "x", [line], log_y=True))
    assert 2 <= len(drawn["up"]) <= 14
    assert (drawn["up"][0][0], drawn["up"][-1][0]) == (SIDES["bottom"], SIDES["top"])


def test_error_bars_are_upright_or_across() -> None:
    upright = drawing(Chart("c", "x", [Line("a", [(0, 5.0), (1, 5.0)], [4, 0], [6, 10])], bars=True))
    assert [box[1::2] for box in upright["lines"][0]["bars"]] == [(117.2, 168.8), (14, 272)]
    assert upright["lines"][0]["band"] == ""
    across = drawing(Chart("c", "x", [Line("a", [(5.0, 1)], [0], [10])], bars=True, across=True))
    ((left, top, right, bottom),) = across["lines"][0]["bars"]
    assert (left, right) == (62, 508)
    assert top == bottom


def test_lines_of_one_name_share_a_place_in_the_legend() -> None:
    lines = [Line("a", [(0, 1)], look=3), Line("a", [(1, 2)], look=3), Line("b", [(0, 0)], look=1)]
    legend = drawing(Chart("c", "x", lines, legend=True))["legend"]
    assert [(line["name"], line["colour"]) for line in legend] == [
        ("a", "var(--line-3)"),
        ("b", "var(--line-1)"),
    ]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=8))
def test_labels_are_within_the_axes(points: list[tuple[float, float]]) -> None:
    labels = [(f"model_{number}", x, y) for number, (x, y) in enumerate(points)]
    drawn = drawing(Chart("c", "x", [Line("a", points)], labels=labels))
    for label in drawn["labels"]:
        wide = 8.0 * len(label["text"])
        left = label["x"] - wide * {"start": 0, "middle": 0.5, "end": 1}[label["anchor"]]
        assert left >= SIDES["left"] - 0.1
        assert left + wide <= SIDES["right"] + 0.1
        assert SIDES["top"] <= label["y"] <= SIDES["bottom"]


def test_labels_of_points_that_are_close_do_not_overlap() -> None:
    labels = [(f"model_{number}", 5 + 0.01 * number, 5.0) for number in range(4)]
    points = [(0.0, 0.0), *((x, y) for _, x, y in labels), (10.0, 10.0)]
    drawn = drawing(Chart("c", "x", [Line("a", points)], labels=labels))["labels"]
    boxes = []
    for label in drawn:
        left = label["x"] - 56 * {"start": 0, "middle": 0.5, "end": 1}[label["anchor"]]
        boxes.append((left, label["y"]))
    for number, (left, bottom) in enumerate(boxes):
        for other_left, other_bottom in boxes[:number]:
            assert abs(left - other_left) >= 56 or abs(bottom - other_bottom) >= 16


def test_a_picture_is_an_svg_file_with_its_legend() -> None:
    chart = Chart("a < b", "x", [Line("one & all", [(0, 1), (1, 2)])], legend=True)
    root = ElementTree.fromstring(picture(chart))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == "a < b"
    assert "one & all" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


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
