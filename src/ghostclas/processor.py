"""The cores and instructions of this machine, read in one place."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Processor:
    """A processor as the system describes it. ``flags`` are the instruction names of Linux.

    ``vendor`` is ``None`` and ``flags`` is empty if the system does not report them.
    """

    model: str
    vendor: str | None
    flags: frozenset[str]


@cache
def this_processor() -> Processor:
    """Return the processor of this machine."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return parse_cpuinfo(text)


def parse_cpuinfo(text: str) -> Processor:
    """Return the first processor of a ``/proc/cpuinfo``, as x86 and Arm write it."""

    def field(names: str) -> str | None:
        found = re.search(rf"^(?:{names})\s*:\s*(.*)$", text, re.MULTILINE)
        return found[1].strip() if found else None

    return Processor(
        model=field("model name|Model") or platform.processor() or platform.machine() or "unknown",
        vendor=field("vendor_id"),
        flags=frozenset((field("flags|Features") or "").split()),
    )


def usable_cores() -> int:
    """Return the number of cores on which this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_cores()


def all_cores() -> int:
    """Return the number of cores of the machine, whether or not this process may use them."""
    return os.cpu_count() or 1
