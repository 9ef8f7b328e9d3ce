"""Python code in a process of its own: what it says, and the CPU time and memory that it takes.

Tests of hostile input use it: the limits stop a process that would otherwise fill the machine, and the
figures that come back are asserted against what the product promises.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# A process counts the memory of the one that started it as its own peak: so a small one starts it.
_LAUNCHER = """
import json, os, resource, sys
report, cpu, space, *command = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CPU, (int(cpu), int(cpu) + 1))
resource.setrlimit(resource.RLIMIT_AS, (int(space), int(space)))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
_, status, usage = os.wait4(os.posix_spawn(command[0], command, os.environ), 0)
outcome = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
os.write(int(report), json.dumps(outcome).encode())
"""


@dataclass(frozen=True)
class Outcome:
    """How a process ended."""

    code: int  # negative: the signal that ended it
    stdout: str
    stderr: str
    cpu_seconds: float  # user and system, of the process and the children that it waited for
    peak_bytes: int  # the largest resident set of the process


def run_python(
    code: str, *arguments: str | Path, cpu_seconds: int = 60, address_bytes: int = 16 << 30
) -> Outcome:
    """Run ``code`` with ``arguments`` in ``sys.argv[1:]`` under limits on CPU time and address space.

    The limits stop what runs wild; they lie far above what a test asserts of the outcome, since runtimes
    reserve addresses that they never use.
    """
    return run([sys.executable, "-c", code, *arguments], cpu_seconds=cpu_seconds, address_bytes=address_bytes)


def run_ghostclas(*arguments: str | Path, cpu_seconds: int = 60, address_bytes: int = 16 << 30) -> Outcome:
    """Run the command line in the same way."""
    command = [sys.executable, "-m", "ghostclas", *arguments]
    return run(command, cpu_seconds=cpu_seconds, address_bytes=address_bytes)


def run(command: Sequence[str | Path], *, cpu_seconds: int, address_bytes: int) -> Outcome:
    """Run ``command`` to its end, with nothing on its standard input."""

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as report:
        numbers = map(str, (report.fileno(), cpu_seconds, address_bytes))
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, *numbers, *(os.fspath(part) for part in command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=ROOT,
            pass_fds=[report.fileno()],
            check=True,
        )
        report.seek(0)
        code, cpu, peak = json.load(report)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return Outcome(
        code=code,
        stdout=texts[0],
        stderr=texts[1],
        cpu_seconds=cpu,
        peak_bytes=peak,
    )
