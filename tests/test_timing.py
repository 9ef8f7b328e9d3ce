"""The timer, on a clock that the timed calls advance."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from ghostclas.timing import interleave, seconds


class Clock:
    """Stands still but for what calls add to it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, takes: float) -> None:
        self.called.append(name)
        self.now += takes


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_seconds_is_what_the_call_takes(clock: Clock) -> None:
    assert seconds(lambda: clock.call("a", 2.5), clock) == 2.5


def test_every_call_gets_every_counted_run_and_only_its_own_time(clock: Clock) -> None:
    taken = interleave(
        {"a": lambda: clock.call("a", 1.0), "b": lambda: clock.call("b", 3.0)},
        rounds=4,
        runs=2,
        warmup=1,
        clock=clock,
    )
    assert taken == {"a": [1.0] * 8, "b": [3.0] * 8}


def test_calls_take_turns_round_by_round_in_an_order_that_changes(clock: Clock) -> None:
    names = "abcd"
    calls = {name: (lambda name=name: clock.call(name, 1.0)) for name in names}
    interleave(calls, rounds=6, runs=2, warmup=0, clock=clock)
    turns = clock.called[::3]
    assert [clock.called[i : i + 3] for i in range(0, len(clock.called), 3)] == [[t] * 3 for t in turns], (
        "a turn is one call that warms up and two that count"
    )
    rounds = [tuple(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert len(rounds) == 6
    assert all(sorted(one) == list(names) for one in rounds)
    assert len(set(rounds)) > 1


def test_the_same_seed_gives_the_same_order() -> None:
    orders = []
    for _ in range(2):
        clock = Clock()
        calls = {name: (lambda name=name, clock=clock: clock.call(name, 1.0)) for name in "abc"}
        interleave(calls, rounds=5, clock=clock, seed=3)
        orders.append(clock.called)
    assert orders[0] == orders[1]


def test_progress_counts_the_rounds_and_garbage_waits(clock: Clock) -> None:
    seen: Counter[int] = Counter()
    collecting: list[bool] = []
    interleave(
        {"a": lambda: collecting.append(gc.isenabled())},
        rounds=3,
        clock=clock,
        progress=lambda done, total: seen.update([done]),
    )
    assert sorted(seen) == [0, 1, 2, 3]
    assert not any(collecting)
    assert gc.isenabled()
