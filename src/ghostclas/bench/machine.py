"""A description of the measured machine, without its name or its user."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ghostclas.processor import all_cores, this_processor, usable_cores
from ghostclas.spec import Frozen

PACKAGES = (
    "numpy",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "ncnn",
    "MNN",
    "ai-edge-litert",
    "executorch",
    "torch",
    "tensorrt",
)

INSTRUCTIONS = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
"""The instructions by which engines choose their kernels."""


class Machine(Frozen):
    """The measured machine. ``cores`` are those that the process may use, ``memory`` is in bytes.

    ``load`` is the mean number of running processes in the minute before, if the system reports it.
    """

    cpu: str
    cores: int
    all_cores: int
    memory: Annotated[int, Field(ge=0, lt=2**63)] | None
    instructions: tuple[str, ...]
    governor: str | None
    load: float | None
    system: str
    python: str
    packages: dict[str, str]

    def __str__(self) -> str:
        """Return the description in one line."""
        cores = f"{self.cores} of {self.all_cores}" if self.cores != self.all_cores else str(self.cores)
        memory = f", {self.memory / 2**30:.0f} GiB" if self.memory else ""
        return f"{self.cpu}, {cores} cores{memory}; {self.system}; Python {self.python}"


def describe_machine() -> Machine:
    """Describe this machine."""
    processor = this_processor()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return Machine(
        cpu=processor.model,
        cores=usable_cores(),
        all_cores=all_cores(),
        memory=_memory(),
        instructions=tuple(name for name in INSTRUCTIONS if name in processor.flags),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        load=None if load is None else round(load, 2),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := package_version(name))},
    )


def package_version(name: str) -> str | None:
    """Return the installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
