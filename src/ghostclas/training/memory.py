"""The C library keeps the memory that one training step has freed for the next one."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_BLOCK = 1 << 30
_KEPT = (1 << 31) - 1
_AHEAD = 1 << 28


def keep_freed_memory() -> bool:
    """Make the C library hand freed tensors to the next step instead of the kernel; return whether it could.

    By default glibc maps every large block anew and unmaps it after use, so that a training step on the CPU
    spends much of its time on page faults. It holds for the whole process; the process keeps the most memory
    it ever needed. Other C libraries than glibc are left alone.
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
