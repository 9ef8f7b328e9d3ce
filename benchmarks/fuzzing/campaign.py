"""Many mutants of many formats, in processes that may die: who is started, and what they found."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fuzzing.target import SLOW, TARGETS
from fuzzing.worker import HANG_CPU_SECONDS

ROOT = Path(__file__).parents[2]
SILENT_SECONDS = 120
"""A process that says nothing for so long waits for something; a busy one is ended by the system before."""

_CHUNK = 500


class BrokenTargetError(Exception):
    """A good file cannot be read, so that mutants would show nothing."""


@dataclass(frozen=True)
class Chunk:
    """Some mutants of one format."""

    format: str
    seed: int
    first: int
    count: int


@dataclass
class Tally:
    """What the mutants of one format did."""

    mutants: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another tally counted, too."""
        self.mutants += other.mutants
        self.read += other.read
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)
        self.largest = max(self.largest, other.largest)
        self.findings += other.findings


@dataclass
class Report:
    """The tallies by format."""

    tallies: dict[str, Tally]
    seconds: float = 0.0

    @property
    def findings(self) -> list[str]:
        """A line for each, which ``--replay`` takes the first word of."""
        return [line for tally in self.tallies.values() for line in tally.findings]

    def table(self) -> list[tuple[str, ...]]:
        """Return a row for each format under a header."""
        rows: list[tuple[str, ...]] = [
            ("format", "mutants", "read", "refused", "slowest", "most memory", "findings")
        ]
        for name, tally in self.tallies.items():
            counts = (f"{tally.mutants:,}", f"{tally.read:,}", f"{tally.refused:,}")
            figures = (f"{tally.slowest:.2f} CPU s", f"{tally.largest >> 20} MB", str(len(tally.findings)))
            rows.append((name, *counts, *figures))
        return rows

    def kinds(self) -> list[tuple[str, int]]:
        """Return the findings without what differs from mutant to mutant, most frequent first."""
        return Counter(map(_kind, self.findings)).most_common()


def _kind(line: str) -> str:
    mutant, _, finding = line.partition("  ")
    return f"{mutant.partition(':')[0]}: {': '.join(finding.split(': ')[:2])}"


def run(
    formats: Sequence[str],
    seed: int,
    *,
    mutants: int | None = None,
    hours: float | None = None,
    jobs: int | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Try so many mutants of each format, or as many as fit in the time, and report."""
    began = time.monotonic()
    report = Report({name: Tally() for name in formats})
    guard = threading.Lock()

    def work(chunk: Chunk) -> None:
        tally = try_chunk(chunk)
        with guard:
            report.tallies[chunk.format].add(tally)
        for line in tally.findings:
            say(line)

    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        if hours is None:
            list(pool.map(work, _chunks(formats, seed, 0, mutants or 0)))
        else:
            first = 0
            while time.monotonic() - began < 3600 * hours:
                list(pool.map(work, _chunks(formats, seed, first, _CHUNK)))
                first += _CHUNK
    report.seconds = time.monotonic() - began
    return report


def _chunks(formats: Sequence[str], seed: int, first: int, count: int) -> Iterator[Chunk]:
    order = list(TARGETS)
    # Few processes of what starts slowly, and these first, so that none of them is alone in the end.
    for name in sorted(formats, key=order.index):
        begin, end = (-(-bound // SLOW.get(name, 1)) for bound in (first, first + count))
        size = max(_CHUNK, -(-(end - begin) // 2))
        for start in range(begin, end, size):
            yield Chunk(name, seed, start, min(size, end - start))


def try_chunk(chunk: Chunk) -> Tally:
    """Try every mutant of a chunk; a process that dies is replaced, and its mutant is a finding."""
    tally = Tally()
    end = chunk.first + chunk.count
    following = chunk.first
    while following < end:
        with tempfile.TemporaryDirectory(prefix="ghostclas-fuzz-") as folder:
            following = _one_process(chunk, following, end, folder, tally)
    return tally


def _one_process(chunk: Chunk, first: int, end: int, folder: str, tally: Tally) -> int:
    """Return the mutant to go on with."""
    arguments = [chunk.format, str(chunk.seed), str(first), str(end - first), folder]
    with tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzzing.worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=noise,
            env=environment(),
            # A name without a folder must not lead into the files of whoever runs this.
            cwd=folder,
            text=True,
        )
        try:
            current, silent = _follow(process, chunk, tally)
            if not silent:
                # It has closed its output and is about to end.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SILENT_SECONDS)
        finally:
            process.kill()
            code = process.wait()
        if current is None and code == 0 and not silent:
            return end
        if current is None:
            noise.seek(0)
            last = noise.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise BrokenTargetError(f"{chunk.format}: {last[0] if last else f'exit code {code}'}")
    tally.mutants += 1
    tally.findings.append(f"{chunk.format}:{chunk.seed}:{current}  {_death(code, silent)}")
    return current + 1


def _follow(process: subprocess.Popen[str], chunk: Chunk, tally: Tally) -> tuple[int | None, bool]:
    """Count what the process says; return the mutant that it did not survive, and whether it fell silent."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True).start()
    current: int | None = None
    while True:
        try:
            line = lines.get(timeout=SILENT_SECONDS)
        except queue.Empty:
            return current, True
        if not line:
            return current, False
        if line.startswith("{"):
            _count(json.loads(line), chunk, tally)
            current = None
        else:
            current = int(line)


def _pass_on(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _count(attempt: dict[str, object], chunk: Chunk, tally: Tally) -> None:
    tally.mutants += 1
    tally.read += attempt["outcome"] == "read"
    tally.refused += attempt["outcome"] == "refused"
    tally.slowest = max(tally.slowest, float(str(attempt["cpu_seconds"])))
    tally.largest = max(tally.largest, int(str(attempt["growth_bytes"])))
    if attempt["finding"]:
        tally.findings.append(f"{chunk.format}:{chunk.seed}:{attempt['number']}  {attempt['finding']}")


def _death(code: int, silent: bool) -> str:
    if silent:
        return f"hang: nothing for {SILENT_SECONDS} s"
    if code == -signal.SIGXCPU:
        return f"hang: more than {HANG_CPU_SECONDS} CPU s"
    return f"crash: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def environment() -> dict[str, str]:
    """Return a worker's variables: it finds these modules and the tests' helpers, and uses one thread."""
    places = [str(ROOT / "benchmarks"), str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "OMP_NUM_THREADS": "1"}
