"""The size of batches."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ghostclas.serve.capacity import SIZES, best_batch, choose


def test_a_larger_batch_must_gain_five_per_cent() -> None:
    assert choose({1: 1.0, 2: 0.96, 4: 0.97, 8: 0.96}) == 1
    assert choose({1: 1.0, 2: 0.9, 4: 0.88, 8: 0.7}) == 8
    assert choose({1: 1.0, 2: 0.9, 4: 0.88, 8: 0.87}) == 2
    # Small steps add up.
    assert choose({1: 1.0, 2: 0.97, 4: 0.94}) == 4


def test_all_sizes_are_measured_by_all_threads_on_the_same_number_of_images() -> None:
    seen: list[tuple[int, str]] = []
    lock = threading.Lock()

    def run(pixels: NDArray[np.uint8]) -> None:
        with lock:
            seen.append((len(pixels), threading.current_thread().name))

    assert best_batch(run, 32, 2) in SIZES
    images = {size: sum(one for one, _ in seen if one == size) for size in SIZES}
    assert len(set(images.values())) == 1
    assert all("ghostclas-capacity" in name for _, name in seen)
