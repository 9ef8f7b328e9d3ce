"""The noise of the machine, and the warning about it."""

from __future__ import annotations

import pytest

from ghostclas.bench.noise import judge, warning
from ghostclas.bench.statistics import spread


def test_equal_graphs_that_agree_make_no_warning() -> None:
    noise = judge("x", [(spread([4.0, 4.1, 4.2]), spread([4.0, 4.05, 4.2]))])
    assert noise is not None
    assert not noise.noisy
    assert warning(noise) is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([4.0, 4.0, 4.0], [4.3, 4.3, 4.3]),  # two medians that differ
        ([2.0, 4.0, 6.0], [2.0, 4.0, 6.0]),  # one that is nowhere
    ],
)
def test_equal_graphs_that_do_not_agree_make_a_warning_that_says_what_to_do(
    a: list[float], b: list[float]
) -> None:
    quiet = spread([1.0, 1.0, 1.0])
    noise = judge("x", [(quiet, quiet), (spread(a), spread(b))])
    assert noise is not None
    assert noise.noisy, "the worst setting counts"
    said = warning(noise)
    assert said is not None
    assert "noisy" in said
    assert "measure again" in said


def test_where_nothing_was_timed_twice_it_is_said() -> None:
    assert judge("x", []) is None
    assert "is not known" in str(warning(None))
