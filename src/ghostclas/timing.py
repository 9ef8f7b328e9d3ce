"""THE timer: everything that is to be compared is timed in turn, so that what disturbs one disturbs all."""

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
    """Return how long ``call`` takes."""
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

    A round gives every call one turn, in an order that is drawn anew, so that none always follows the same
    other. A turn is one call that is not counted, since whoever came before has filled the caches and may
    have threads that still spin, and then ``runs`` that are. Collection of garbage waits until the end.

    Args:
        calls: what to time, by a key of its own.
        rounds: how many turns everything gets.
        runs: how many counted calls a turn has.
        warmup: rounds before those that count.
        seed: of the order.
        clock: gives seconds.
        progress: called after every round with how many are done and how many there are.
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
