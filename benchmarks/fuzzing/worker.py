"""A process that reads mutants one after the other and says what each one did and took.

``python -m fuzzing.worker FORMAT SEED FIRST COUNT FOLDER`` prints the number of a mutant before it is read,
and a JSON object afterwards. So the parent knows which mutant ended the process.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzzing.target import Target, load
from ghostclas.errors import GhostclasError

MAX_CPU_SECONDS = 2.0
MAX_GROWTH_BYTES = 600 << 20
MAX_MESSAGE = 2000
HANG_CPU_SECONDS = 20
"""The system ends a process that takes so long for one mutant."""

ADDRESS_BYTES = 4 << 30
"""A mutant may take so many addresses beyond those that the process had."""


@dataclass(frozen=True)
class Attempt:
    """What one mutant did: ``outcome`` is ``read`` or ``refused``, ``finding`` what must not be."""

    number: int
    outcome: str
    cpu_seconds: float
    growth_bytes: int
    finding: str | None = None
    message: str = ""


def attempt(target: Target, data: bytes, number: int, path: Path, *, explain: bool = False) -> Attempt:
    """Read one mutant and measure it; ``explain`` prints the traceback of an exception that must not be."""
    path.write_bytes(data)
    noise = os.fstat(2).st_size
    _reset_peak()
    before, began = _memory("VmRSS"), time.process_time()
    outcome, finding, message = "read", None, ""
    try:
        target.read(path)
    except GhostclasError as error:
        outcome, message = "refused", str(error)
        if _out_of_memory(error):
            finding = f"memory: asked for over {ADDRESS_BYTES >> 20} MB"
        elif len(message) > MAX_MESSAGE:
            finding = f"message: too long: {len(message):,} characters"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome = "exception"
        finding = f"exception: {type(error).__name__} at {_origin(error)}: {str(error)[:200]!r}"
        if explain:
            traceback.print_exc()
    cpu, growth = time.process_time() - began, _memory("VmHWM") - before
    if finding is None and cpu > MAX_CPU_SECONDS:
        finding = f"time: over {MAX_CPU_SECONDS:g} CPU s: {cpu:.1f}"
    if finding is None and growth > MAX_GROWTH_BYTES:
        finding = f"memory: over {MAX_GROWTH_BYTES >> 20} MB: {growth >> 20}"
    if finding is None and os.fstat(2).st_size > noise:
        finding = "stderr: a line that is not ours"
    return Attempt(number, outcome, round(cpu, 4), growth, finding, message[:MAX_MESSAGE])


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether a lack of memory is behind it: without a limit the memory would have been taken."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _origin(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}ghostclas{os.sep}" in frame.filename]
    frame = (ours or list(frames))[-1]
    return f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _memory(name: str) -> int:
    """Return a line of ``/proc/self/status`` in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise LookupError(name)


def prepared(name: str, folder: Path) -> tuple[Target, Sequence[bytes], Path]:
    """Return a target, its good files and the path for mutants, after all good files were tried.

    That imports what reading needs. The first has to be read, or mutants would not reach the reader.
    """
    target = load(name)
    (folder / "seeds").mkdir()
    seeds = target.seeds(folder / "seeds")
    place = folder / "place"
    target.prepare(place)
    place.mkdir(exist_ok=True)
    path = place / target.name
    for number, data in enumerate(seeds):
        path.write_bytes(data)
        try:
            target.read(path)
        except Exception as error:
            # A reader may refuse some kinds of good files, such as those of an unusual compression.
            if number and isinstance(error, GhostclasError):
                continue
            raise SystemExit(f"good file {number} of {name} cannot be read: {error!r}") from error
    return target, seeds, path


def limit_addresses() -> None:
    """Let this process have ``ADDRESS_BYTES`` more than it has."""
    most = _memory("VmSize") + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time() -> None:
    """Let the next mutant have ``HANG_CPU_SECONDS``."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + HANG_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main(name: str, seed: str, first: str, count: str, folder: str) -> None:
    """Try ``count`` mutants from ``first`` on."""
    target, seeds, path = prepared(name, Path(folder))
    limit_addresses()
    for number in range(int(first), int(first) + int(count)):
        print(number, flush=True)
        limit_time()
        data = target.mutant(seeds, name, int(seed), number)
        print(json.dumps(asdict(attempt(target, data, number, path))), flush=True)
        if number % 50 == 0:
            gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
