"""A setting of the C library: it keeps the memory that a training step frees, for the next step."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_BLOCK = 1 << 30
_KEPT = (1 << 31) - 1
_AHEAD = 1 << 28


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory instead of returning it to the kernel; return whether it does.

    By default glibc maps each large block anew and unmaps it after use. A training step on a CPU then spends
    much of its time on page faults. The setting holds for the whole process, which keeps the most memory that
    it ever needed. C libraries other than glibc stay unchanged.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_BLOCK), (_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _AHEAD))
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)
