"""Shared memory, through which loader processes hand over their batches, and how many of them it allows.

On Linux it is the disk ``/dev/shm``, of 64 MB in a Docker container that is told nothing else. Where it is
full, PyTorch raises an error in a thread that nobody listens to, and the training process waits for ever.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

FOLDER = "/dev/shm"  # noqa: S108 - not a file of ours: the disk behind shared memory
ADVICE = (
    f"give the container more of {FOLDER} (docker run --shm-size=2g, or --ipc=host), or load the images in "
    "the training process with --set data.workers=0"
)
# For semaphores, labels and weights.
_SPARE = 1 << 20


class LoaderPlan(NamedTuple):
    """How many loader processes run, and how many finished batches wait for each of them."""

    workers: int
    prefetch: int


class SharedMemory:
    """Plans loader processes within the free shared memory.

    It tells ``say``, once, that fewer fit than are asked for.
    ``processes`` is how many training processes share it.
    """

    def __init__(self, say: Callable[[str], None] | None = None, *, processes: int = 1) -> None:
        self._say, self._processes = say, processes
        self._told = False

    def plan(self, workers: int, batch_bytes: int, *, prefetch: int) -> LoaderPlan:
        """Return a plan of at most ``workers`` and ``prefetch`` for batches of ``batch_bytes``.

        Fewer batches wait before fewer processes run. Two batches more are in the training process: one in
        use and one that is just being taken.
        """
        free = free_bytes()
        if free is None or workers == 0:
            return LoaderPlan(workers, prefetch)
        share = free // self._processes - _SPARE
        for count in range(workers, 0, -1):
            for depth in range(prefetch, 0, -1):
                if batch_bytes * (count * depth + 2) <= share:
                    self._tell(free, workers, count)
                    return LoaderPlan(count, depth)
        self._tell(free, workers, 0)
        return LoaderPlan(0, 0)

    def holds(self, workers: int, batch_bytes: int) -> bool:
        """Return whether one batch, in which all ``workers`` write their part, fits."""
        free = free_bytes()
        if free is None or batch_bytes <= free // self._processes - _SPARE:
            return True
        self._tell(free, workers, 0)
        return False

    def _tell(self, free: int, wanted: int, count: int) -> None:
        if self._say and count < wanted and not self._told:
            self._told = True
            self._say(
                f"shared memory ({FOLDER}) has {free / 1e6:,.1f} MB free, enough for {count} of {wanted} "
                f"loader processes; {ADVICE}"
            )


def free_bytes() -> int | None:
    """Return how many bytes of shared memory are free, or ``None`` on systems that do not limit it."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return shutil.disk_usage(FOLDER).free
    except OSError:
        return 0


def local_processes() -> int:
    """Return how many training processes a launcher such as torchrun started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
