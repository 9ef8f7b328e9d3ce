"""Median, quartiles and percentiles of measurements."""

from __future__ import annotations

import numpy as np
import pytest

from ghostclas.bench.statistics import spread


@pytest.mark.parametrize("count", [1, 2, 3, 10, 151])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    values = np.random.default_rng(count).gamma(4, 1, count)
    found = spread(values.tolist())
    assert found.count == count
    for q in (25, 50, 75, 95, 99):
        assert getattr(found, f"p{q}") == pytest.approx(float(np.percentile(values, q)))


def test_one_slow_run_does_not_move_the_median() -> None:
    assert spread([4.0] * 20 + [900.0]).p50 == 4.0
