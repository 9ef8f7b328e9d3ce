"""The Pareto front and the recommended model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostclas.bench.recommend import Choice, choices, pareto_front, recommend
from ghostclas.bench.results import Accuracy
from ghostclas.errors import GhostclasError
from tests.bench.made import case, results


def choice(name: str, ms: float, top1: float) -> Choice:
    return Choice(name, ms, ms, top1, 1)


FAST, GOOD, BEST = choice("fast", 1, 60), choice("good", 3, 70), choice("best", 9, 80)
SLOW, EQUAL = choice("slow", 5, 65), choice("equal", 4, 70)


def test_the_front_is_what_nothing_beats() -> None:
    assert pareto_front([BEST, SLOW, GOOD, EQUAL, FAST]) == [FAST, GOOD, BEST]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20))
def test_everything_is_on_the_front_or_beaten_by_it(points: list[tuple[int, int]]) -> None:
    found = [choice(str(number), *point) for number, point in enumerate(points)]
    front = pareto_front(found)
    for one in found:
        assert any(other.ms <= one.ms and other.top1 >= one.top1 for other in front)
    for a in front:
        for b in front:
            assert a == b or not (a.ms <= b.ms and a.top1 >= b.top1)


@pytest.mark.parametrize(("max_ms", "best"), [(1, FAST), (2.9, FAST), (3, GOOD), (8, GOOD), (100, BEST)])
def test_the_most_accurate_within_the_time_is_chosen(max_ms: float, best: Choice) -> None:
    assert recommend([BEST, SLOW, GOOD, EQUAL, FAST], max_ms) == best


def test_a_time_that_nothing_meets_is_an_error_that_names_the_fastest() -> None:
    with pytest.raises(GhostclasError, match=r"within 0\.5 ms: the fastest, fast, takes 1\.00 ms"):
        recommend([BEST, FAST], 0.5)


def test_only_measured_accuracies_are_chosen_from() -> None:
    published = Accuracy(dataset="ImageNet-1k", top1=99.0, measured=False, source="somebody")
    measured = results(case("ours", 4, 70), case("theirs", 1, accuracy=published), case("none", 1, None))
    assert [one.case for one in choices(measured)] == ["ours onnxruntime fp32 224"]
    assert choices(measured)[0].ms == 2.0, "on all cores"
    assert choices(measured, threads=1)[0].ms == 4.0
    with pytest.raises(GhostclasError, match="no model has a measured accuracy"):
        recommend(choices(results(case("none", 1, None))), 5)
