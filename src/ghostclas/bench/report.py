"""The report of a measurement: the tables of the terminal and the page, and the page itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from ghostclas.bench.cases import FIXED_THREADS
from ghostclas.bench.charts import accuracy_charts, model_charts, runtimes
from ghostclas.bench.noise import warning
from ghostclas.bench.results import CaseResult, Results
from ghostclas.bench.statistics import Spread
from ghostclas.errors import DataError
from ghostclas.files import write_bytes
from ghostclas.pages import check_page, write_html
from ghostclas.pages.charts import drawing
from ghostclas.progress import rounded_rate
from ghostclas.terminal import counted

JSON, PAGE = "bench.json", "index.html"

_PAGE = Path(__file__).with_name("pages") / "bench.html.jinja"
_NUMBER = re.compile(r"\d+(\.\d+)?")

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


def check_report(directory: str | os.PathLike[str]) -> None:
    """Check before the measurement that ``write_report`` can write.

    Raises:
        UsageError: there is a file at ``directory``, it cannot be written to, or has somebody else's page.
        MissingExtraError: jinja2 is not installed.
    """
    check_page(Path(directory))


def write_report(results: Results, directory: str | os.PathLike[str]) -> Path:
    """Write ``index.html``, which needs no other file, and ``bench.json``; return the path of the page.

    Files of those names are replaced; others stay.

    Raises:
        UsageError: as :func:`check_report`.
        DataError: the directory cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    folder = Path(directory)
    check_report(folder)
    page = write_html(_PAGE, folder, **_page(results))
    try:
        write_bytes(folder / JSON, results.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from None
    return page


def _page(results: Results) -> dict[str, Any]:
    models = model_charts(results)
    return {
        "models": list(dict.fromkeys(case.model for case in results.cases)),
        "runtimes": list(runtimes(results)),
        "tiles": _tiles(results),
        "warning": warning(results.noise),
        "accuracy": [drawing(chart) for chart in accuracy_charts(results)],
        "model_charts": [(model, [drawing(chart) for chart in charts]) for model, charts in models],
        "tables": [(table, _values(table)) for table in (*tables(results), details(results))],
        "notes": notes(results),
        "facts": _facts(results),
        "skipped": results.skipped,
    }


def _tiles(results: Results) -> list[tuple[str, str, str, str]]:
    """Return the best figures: what each is, its value, its unit, and the case that has it."""
    found: list[tuple[str, str, str, str]] = []
    threads = min(results.settings.threads)
    timed = [(ms.p50, case) for case in results.cases if (ms := case.ms(threads))]
    if timed:
        value, case = min(timed, key=lambda entry: entry[0])
        found.append((f"One photo, {counted(threads, 'thread')}", f"{value:.2f}", "ms", _case(case)))
    rates = [(rate.p50, case) for case in results.cases if (rate := case.images_per_second)]
    if rates:
        value, case = max(rates, key=lambda entry: entry[0])
        found.append(("From files to labels", rounded_rate(value), "photos/s", _case(case)))
    starts = [(start.p50, case) for case in results.cases if (start := case.cold_start_ms)]
    if starts:
        value, case = min(starts, key=lambda entry: entry[0])
        found.append(("Cold start", f"{value:,.0f}", "ms", _case(case)))
    measured = [
        (case.accuracy.top1, case) for case in results.cases if case.accuracy and case.accuracy.measured
    ]
    if measured:
        value, case = max(measured, key=lambda entry: entry[0])
        found.append(("Top-1", f"{value:.1f}", "%", _case(case)))
    return found


def _case(case: CaseResult) -> str:
    return f"{case.model} in {case.engine}, {case.precision}"


def _facts(results: Results) -> dict[str, str]:
    """Return what was measured on, and how."""
    machine, settings, noise = results.machine, results.settings, results.noise
    cores = (
        str(machine.cores)
        if machine.cores == machine.all_cores
        else f"{machine.cores} of {machine.all_cores}"
    )
    facts = {
        "Processor": machine.cpu,
        "Cores": cores,
        "Memory": f"{machine.memory / 2**30:.1f} GiB" if machine.memory else "",
        "Instructions": " ".join(machine.instructions),
        "Governor": machine.governor or "",
        "Load before": "" if machine.load is None else f"{machine.load:.2f}",
        "System": f"{machine.system}, Python {machine.python}",
        "Versions": ", ".join(
            f"{name} {version}"
            for name, version in {"ghostclas": results.ghostclas, **machine.packages}.items()
        ),
        "Measured": results.measured.replace("T", " ").replace("+00:00", " UTC"),
        "Latencies": f"{counted(settings.rounds, 'round')} of {counted(settings.runs, 'run')}, interleaved",
        "Noise": f"two equal graphs differ by {noise.difference:.1%} at most" if noise else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _values(table: Table) -> list[list[float | None]]:
    """Return the figures of a table, by which its page sorts the rows."""
    return [[_figure(cell) for cell in row] for row in table.rows]


def _figure(cell: str) -> float | None:
    found = _NUMBER.search(cell.replace(",", ""))
    return float(found[0]) if found else None


def _latency(results: Results) -> Table:
    settings = results.settings
    few, most = min(settings.threads), results.threads
    columns = [(threads, 1) for threads in settings.threads]
    columns += [(most, batch) for batch in settings.batches if (most, batch) not in columns]
    header = [counted(t, "thread") if b == 1 else f"batch {b}, {counted(t, 'thread')}" for t, b in columns]
    rows = [
        (
            *_names(case),
            *(_median(case.ms(*column)) for column in columns),
            *_tail(case.ms(few)),
        )
        for case in results.cases
    ]
    last = (f"p95, {counted(few, 'thread')}", f"p99, {counted(few, 'thread')}")
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
    return _without_empty_columns(
        Table("Size, cost and the whole way from files to labels", header, tuple(rows))
    )


def _without_empty_columns(table: Table) -> Table:
    """Return the table without figures that no row has, such as those that ``--latency-only`` leaves out."""
    kept = [
        place
        for place in range(len(table.header))
        if place < table.names or any(row[place] for row in table.rows)
    ]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return table._replace(header=tuple(table.header[place] for place in kept), rows=rows)


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


def _percentiles(ms: Spread) -> tuple[float, ...]:
    return ms.p25, ms.p50, ms.p75, ms.p95, ms.p99
