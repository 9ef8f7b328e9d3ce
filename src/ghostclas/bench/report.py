"""The report of a measurement: the tables of the terminal and the page, and the directory with all files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ghostclas.bench.cases import FIXED_THREADS
from ghostclas.bench.noise import warning
from ghostclas.bench.plots import PLOTS, draw
from ghostclas.bench.results import CaseResult, Results
from ghostclas.bench.statistics import Spread
from ghostclas.errors import UsageError
from ghostclas.extras import require
from ghostclas.files import check_folder, write_bytes

JSON, PAGE = "bench.json", "index.md"

NAMES = ("model", "engine", "precision", "px")


class Table(NamedTuple):
    """Rows under a header; the first ``names`` columns hold words, the others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = len(NAMES)


def tables(results: Results) -> list[Table]:
    """Return the two main tables: latency, and everything else."""
    return [_latency(results), _rest(results)]


def details(results: Results) -> Table:
    """Return every latency with its percentiles."""
    rows = [
        (
            *_names(case),
            str(latency.threads),
            str(latency.batch),
            *(f"{value:.2f}" for value in _percentiles(latency.ms)),
            f"{1000 * latency.batch / latency.ms.p50:,.0f}",
        )
        for case in results.cases
        for latency in case.latency
    ]
    header = (*NAMES, "threads", "batch", "p25", "p50", "p75", "p95", "p99", "photos/s")
    return Table("Latency in ms, every setting", header, tuple(rows))


def notes(results: Results) -> list[str]:
    """Return the notes that explain the tables."""
    settings, cores = results.settings, results.machine.cores
    lines = [
        "Latency is that of the network, from prepared photos to logits: medians of "
        f"{settings.rounds} interleaved rounds of {settings.runs}, ± half the span of the middle half.",
    ]
    if results.photos:
        lines.append(
            f"Photos/s and memory: one process from files to labels, over {results.photos}. Cold start: from "
            "the start of a process to its first label, files in the system's cache."
        )
    if any(case.macs for case in results.cases):
        lines.append("A MAC is a multiply and an add, two FLOPs; convolutions and matrix products count.")
    if any(case.engine in FIXED_THREADS for case in results.cases):
        lines.append(
            f"The threads of {' and '.join(sorted(FIXED_THREADS))} belong to the whole process and were not "
            "changed; their figures are under the number of cores."
        )
    if max(settings.threads) > cores:
        lines.append(f"There are {cores} cores: more threads than that share them.")
    if any(case.random_weights for case in results.cases):
        lines.append(
            "Models marked * have random weights: their speed and size are real, their labels are not."
        )
    if any(case.accuracy and not case.accuracy.measured for case in results.cases):
        sources = {c.accuracy.source or "" for c in results.cases if c.accuracy and not c.accuracy.measured}
        lines.append(
            f"Accuracies in brackets are published ones (ImageNet-1k), not measured here: "
            f"{'; '.join(sorted(sources))}."
        )
    return lines


def markdown(results: Results, plots: Sequence[str] = ()) -> str:
    """Return the page as Markdown."""
    noise = results.noise
    lines = [
        "# Benchmark",
        "",
        f"{results.machine}.",
        f"ghostclas {results.ghostclas}, "
        + ", ".join(f"{name} {version}" for name, version in results.machine.packages.items())
        + f"; {results.measured}.",
        "",
    ]
    if said := warning(noise):
        lines += [f"**Warning: {said}.**", ""]
    elif noise:
        lines += [
            f"Two equal graphs, timed as if they were two, differ by {noise.difference:.1%} at most.",
            "",
        ]
    for table in tables(results):
        lines += [f"## {table.title}", "", *_pipes(table), ""]
    lines += [f"- {note}" for note in notes(results)] + [""]
    for name in plots:
        lines += [f"![{PLOTS[name].title}]({name})", ""]
    table = details(results)
    lines += [f"## {table.title}", "", *_pipes(table), ""]
    if results.skipped:
        lines += ["## Not measured", "", *(f"- {line}" for line in results.skipped), ""]
    return "\n".join(lines)


def check_report(directory: str | os.PathLike[str]) -> None:
    """Check before the measurement that ``write_report`` can write.

    Raises:
        UsageError: there is a file at ``directory``, or it cannot be written to.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="report")
    if Path(directory).exists() and not Path(directory).is_dir():
        raise UsageError(f"{directory} is a file; name a directory for the report")
    check_folder(directory, option="--report")


def write_report(results: Results, directory: str | os.PathLike[str]) -> Path:
    """Write ``bench.json``, ``index.md`` and the plots, and return the path of the page.

    Files of those names are replaced; others stay.

    Raises:
        UsageError: the directory cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    check_report(directory)
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / JSON, results.model_dump_json(indent=1).encode() + b"\n")
        drawn = draw(results)
        for name in PLOTS:
            if name in drawn:
                write_bytes(folder / name, drawn[name])
            else:
                (folder / name).unlink(missing_ok=True)
        write_bytes(folder / PAGE, markdown(results, list(drawn)).encode())
    except OSError as error:
        raise UsageError(f"cannot write the report to {folder}: {error.strerror}") from None
    return folder / PAGE


def _latency(results: Results) -> Table:
    settings = results.settings
    few, most = min(settings.threads), results.threads
    columns = [(threads, 1) for threads in settings.threads]
    columns += [(most, batch) for batch in settings.batches if (most, batch) not in columns]
    header = [f"{_count(t, 'thread')}" if b == 1 else f"batch {b}, {_count(t, 'thread')}" for t, b in columns]
    rows = [
        (
            *_names(case),
            *(_median(case.ms(*column)) for column in columns),
            *_tail(case.ms(few)),
        )
        for case in results.cases
    ]
    last = (f"p95, {_count(few, 'thread')}", f"p99, {_count(few, 'thread')}")
    return Table("Latency in ms", (*NAMES, *header, *last), tuple(rows))


def _rest(results: Results) -> Table:
    header = (*NAMES, "MB", "MACs", "FLOPs", "cold start, ms", "photos/s", "peak MB", "top-1 %")
    rows = [
        (
            *_names(case),
            f"{case.bytes / 1e6:.2f}",
            _millions(case.macs),
            _millions(case.flops),
            "" if case.cold_start_ms is None else f"{case.cold_start_ms.p50:,.0f}",
            "" if case.images_per_second is None else f"{case.images_per_second.p50:,.0f}",
            "" if case.peak_memory is None else f"{case.peak_memory / 1e6:,.0f}",
            _accuracy(case),
        )
        for case in results.cases
    ]
    return Table("Size, cost and the whole way from files to labels", header, tuple(rows))


def _names(case: CaseResult) -> tuple[str, ...]:
    star = " *" if case.random_weights else ""
    return f"{case.model}{star}", case.engine, case.precision, str(case.size)


def _accuracy(case: CaseResult) -> str:
    accuracy = case.accuracy
    if accuracy is None:
        return ""
    return f"{accuracy.top1:.2f}" if accuracy.measured else f"({accuracy.top1:.2f})"


def _median(ms: Spread | None) -> str:
    return "" if ms is None else f"{ms.p50:.2f} ±{(ms.p75 - ms.p25) / 2:.2f}"


def _tail(ms: Spread | None) -> tuple[str, str]:
    return ("", "") if ms is None else (f"{ms.p95:.2f}", f"{ms.p99:.2f}")


def _millions(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:,.1f} M"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percentiles(ms: Spread) -> tuple[float, ...]:
    return ms.p25, ms.p50, ms.p75, ms.p95, ms.p99


def _pipes(table: Table) -> list[str]:
    marks = ["---"] * table.names + ["---:"] * (len(table.header) - table.names)
    rows = [table.header, marks, *([cell.replace("|", "\\|") for cell in row] for row in table.rows)]
    return ["| " + " | ".join(row) + " |" for row in rows]
