"""A plan of the loader processes within the free shared memory, in which they pass on their batches.

On Linux, shared memory is the file system ``/dev/shm``; in a Docker container it has 64 MB by default. If it
is full, PyTorch raises an error in a thread where nothing catches it, and training waits for ever.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

FOLDER = "/dev/shm"  # noqa: S108 - no temporary file: the file system of shared memory
ADVICE = (
    f"give the container more of {FOLDER} (docker run --shm-size=2g, or --ipc=host), or load the images in "
    "the training process with --set data.workers=0"
)
# Reserved for semaphores, labels and weights.
_SPARE = 1 << 20


class LoaderPlan(NamedTuple):
    """The number of loader processes, and of the finished batches that wait for each of them."""

    workers: int
    prefetch: int


class SharedMemory:
    """Plans loader processes within the free shared memory.

    It calls ``say``, once, if fewer fit than were asked for. ``processes`` is the number of training
    processes that share the memory.
    """

    def __init__(self, say: Callable[[str], None] | None = None, *, processes: int = 1) -> None:
        self._say, self._processes = say, processes
        self._told = False

    def plan(self, workers: int, batch_bytes: int, *, prefetch: int) -> LoaderPlan:
        """Return a plan of at most ``workers`` and ``prefetch`` for batches of ``batch_bytes``.

        It reduces the waiting batches before the processes. The training process holds two batches more: one
        in use, and one that it is taking.
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
