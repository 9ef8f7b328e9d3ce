"""How many images a model runs at once, measured under load on this machine when it is opened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

SIZES = (1, 2, 4, 8)
GAIN = 1.05
"""A larger batch makes others wait for it, so it must be at least so many times as fast for each image."""

_IMAGES = 8
_ROUNDS = 4
_SECONDS = 1.5


def best_batch(run: Callable[[NDArray[np.uint8]], object], side: int, threads: int) -> int:
    """Return the size of batch of ``SIZES`` at which ``threads`` that all run batches answer most images.

    The sizes take turns, so that a disturbance affects all of them; the fastest turn of each counts.

    Args:
        run: computes uint8 ``[N, side, side, 3]``; several threads call it at once.
        side: in pixels.
        threads: how many threads will call it.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (max(SIZES), side, side, 3), np.uint8)
    until = time.perf_counter() + _SECONDS
    taken = dict.fromkeys(SIZES, float("inf"))
    with ThreadPoolExecutor(threads, thread_name_prefix="ghostclas-capacity") as pool:

        def turn(size: int) -> float:
            began = time.perf_counter()
            batches = [pixels[:size]] * (_IMAGES // size) * threads
            list(pool.map(run, batches))
            return time.perf_counter() - began

        for number in range(_ROUNDS):
            for size in SIZES:
                seconds = turn(size)
                # The first round fills caches and starts threads.
                if number:
                    taken[size] = min(taken[size], seconds)
            if number and time.perf_counter() > until:
                break
    return choose(taken)


def choose(taken: Mapping[int, float]) -> int:
    """Return the smallest size of batch that no larger one beats by ``GAIN``.

    Args:
        taken: the seconds for the same number of images, by size of batch, in ascending order.
    """
    sizes = list(taken)
    best = sizes[0]
    for size in sizes[1:]:
        if taken[best] >= GAIN * taken[size]:
            best = size
    return best
