"""The timer of all comparisons: it interleaves the calls, so that a disturbance affects all of them."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Call = Callable[[], object]
Clock = Callable[[], float]


def seconds(call: Call, clock: Clock = time.perf_counter) -> float:
    """Return the time that ``call`` takes."""
    began = clock()
    call()
    return clock() - began


def interleave(
    calls: Mapping[Key, Call],
    *,
    rounds: int,
    runs: int = 1,
    warmup: int = 1,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Key, list[float]]:
    """Time every call ``rounds * runs`` times and return its seconds.

    A round gives every call one turn, in a random order, so that no call always follows the same other. A
    turn has one call that is not counted and ``runs`` that are, because the call before may have filled the
    caches and left threads that still spin. Garbage is collected only at the end.

    Args:
        calls: the functions to time, by key.
        rounds: the number of turns of each call.
        runs: the number of counted calls in a turn.
        warmup: the number of rounds before those that count.
        seed: the seed of the order.
        clock: returns seconds.
        progress: called after every round with the number of rounds done and their total.
    """
    order = list(calls)
    draw = random.Random(seed)  # noqa: S311 - an order, not a secret
    taken: dict[Key, list[float]] = {key: [] for key in calls}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(-warmup, rounds):
            draw.shuffle(order)
            for key in order:
                call = calls[key]
                call()
                if number >= 0:
                    taken[key] += [seconds(call, clock) for _ in range(runs)]
            progress(max(0, number + 1), rounds)
    finally:
        if collecting:
            gc.enable()
    return taken
