"""The charts of a measurement: runtimes over each other in one panel, with the middle half of the rounds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from ghostclas.bench.results import CaseResult, Results
from ghostclas.bench.statistics import Spread
from ghostclas.pages.charts import Chart, Line
from ghostclas.terminal import counted

Point: TypeAlias = tuple[float, float, float, float]
"""x, y, and the bounds of the interval."""

_FEW = 6
"""So many names of models find room in a small chart."""


class ModelCharts(NamedTuple):
    """The charts of one model at one size."""

    model: str
    charts: tuple[Chart, ...]


def runtimes(results: Results) -> dict[str, int]:
    """Return every engine with its precision, and its number: the same look in every chart."""
    return {
        name: place for place, name in enumerate(dict.fromkeys(runtime_of(case) for case in results.cases))
    }


def runtime_of(case: CaseResult) -> str:
    """Return the engine and the precision of a case."""
    return f"{case.engine}, {case.precision}"


def family_of(model: str) -> str:
    """Return the part of a model's name that its widths share: ``ghostnet`` of ``ghostnet_x1_0``."""
    plain = re.split(r"[*/\s]", model)[0]
    return re.sub(r"(_(x?\d[\dx._]*|small|medium|large|lite\d?))+$", "", re.sub(r"(lite)\d$", r"\1", plain))


def accuracy_charts(results: Results) -> list[Chart]:
    """Return accuracy against latency and against size, where there are several points to compare."""
    return _filling(
        chart
        for chart in (_against_latency(results), _against_size(results))
        if len(chart.labels) > 1 or len({y for line in chart.lines for _, y in line.points}) > 1
    )


def model_charts(results: Results) -> list[ModelCharts]:
    """Return latency at more threads and throughput at larger batches of each model, where measured."""
    cases: dict[str, list[CaseResult]] = defaultdict(list)
    for case in results.cases:
        cases[short_name(case, results)].append(case)
    charts = {name: (_threads(own, results), _batches(own, results)) for name, own in cases.items()}
    found = [
        ModelCharts(name, tuple(_filling(chart for chart in both if len(chart.ticks) > 1)))
        for name, both in charts.items()
    ]
    return [model for model in found if model.charts]


def short_name(case: CaseResult, results: Results) -> str:
    """Return the model of a case, with the size if it was measured at several."""
    sizes = {other.size for other in results.cases if other.model == case.model}
    return f"{case.model} {case.size}" if len(sizes) > 1 else case.model


# ------------------------------------------------------------------ accuracy


def _against_latency(results: Results) -> Chart:
    threads = results.threads

    def at(case: CaseResult) -> tuple[float, float, float] | None:
        ms = case.ms(threads)
        return None if ms is None else (ms.p50, ms.p25, ms.p75)

    return _accuracy(
        results,
        results.cases,
        at,
        runtime_of,
        title="Accuracy against latency",
        x=f"milliseconds for one photo, {counted(threads, 'thread')}",
        log_x=True,
    )


def _against_size(results: Results) -> Chart:
    # Engines that read the same file share its point, at any precision.
    files: dict[tuple[str, str, int], CaseResult] = {}
    for case in results.cases:
        if case.accuracy:
            files.setdefault((short_name(case, results), case.format, case.bytes), case)
    return _accuracy(
        results,
        list(files.values()),
        lambda case: (case.bytes / 1e6,) * 3,
        lambda case: f"{case.format}, {case.precision}",
        title="Accuracy against size",
        x="megabytes on the disk",
    )


def _accuracy(
    results: Results,
    cases: Sequence[CaseResult],
    at: Callable[[CaseResult], tuple[float, float, float] | None],
    group: Callable[[CaseResult], str],
    *,
    title: str,
    x: str,
    log_x: bool = False,
) -> Chart:
    """Return a chart of accuracies; points of one family in one runtime are joined."""
    looks = {name: place for place, name in enumerate(dict.fromkeys(map(group, cases)))}
    lines: dict[tuple[str, str, bool], list[tuple[Point, str]]] = defaultdict(list)
    for case in cases:
        if case.accuracy and (found := at(case)):
            value, low, high = found
            key = group(case), family_of(case.model), case.accuracy.measured
            name = f"{short_name(case, results)}, {group(case)}"
            lines[key].append(((value, case.accuracy.top1, low, high), name))
    labels: dict[str, tuple[str, float, float]] = {}
    for case in cases:
        # One name for the points of a model, beside the one farthest right.
        if case.accuracy and (found := at(case)):
            name = short_name(case, results)
            if name not in labels or found[0] > labels[name][1]:
                labels[name] = (name, found[0], case.accuracy.top1)
    datasets = {case.accuracy.dataset for case in cases if case.accuracy}
    on = f" on {datasets.pop()}" if len(datasets) == 1 else ""
    is_open = any(case.accuracy and not case.accuracy.measured for case in cases)
    return Chart(
        title,
        x,
        [
            _line(runtime, looks[runtime], [p for p, _ in own], [name for _, name in own], measured=measured)
            for (runtime, _, measured), own in ((key, sorted(own)) for key, own in lines.items())
        ],
        unit=" %",
        legend=True,
        note=f"Top-1{on}." + (" Open marks: as published, not measured here." if is_open else ""),
        share=True,
        log_x=log_x,
        bars=log_x,
        across=True,
        labels=list(labels.values()),
        wide=len(labels) > _FEW,
    )


# ------------------------------------------------------------------ threads and batches


def _threads(cases: Sequence[CaseResult], results: Results) -> Chart:
    settings = sorted(results.settings.threads)
    cores = results.machine.cores
    beyond = settings[0] <= cores < settings[-1]
    return _over(
        cases,
        results,
        settings,
        lambda case, threads: _interval(case.ms(threads), lambda ms: ms),
        Chart(
            "Latency of one photo",
            "threads",
            (),
            unit=" ms",
            note=f"There are {cores} cores: more threads share them." if beyond else "",
        ),
    )


def _batches(cases: Sequence[CaseResult], results: Results) -> Chart:
    threads = results.threads
    return _over(
        cases,
        results,
        sorted({1, *results.settings.batches}),
        lambda case, batch: _interval(case.ms(threads, batch), lambda ms: 1000 * batch / ms),
        Chart("Photos a second", f"photos in a batch, {counted(threads, 'thread')}", ()),
    )


def _over(
    cases: Sequence[CaseResult],
    results: Results,
    settings: Sequence[int],
    at: Callable[[CaseResult, int], tuple[float, float, float] | None],
    chart: Chart,
) -> Chart:
    looks = runtimes(results)
    lines = []
    for case in cases:
        found = [(setting, at(case, setting)) for setting in settings]
        points = [(float(setting), *interval) for setting, interval in found if interval]
        if points:
            lines.append(_line(runtime_of(case), looks[runtime_of(case)], points))
    ticks = sorted({x for line in lines for x, _ in line.points})
    return Chart(
        chart.title,
        chart.x,
        lines,
        unit=chart.unit,
        note=chart.note,
        legend=True,
        ticks=ticks,
        log_x=True,
        log_y=True,
        bars=True,
    )


def _interval(ms: Spread | None, to: Callable[[float], float]) -> tuple[float, float, float] | None:
    if ms is None:
        return None
    low, high = sorted((to(ms.p25), to(ms.p75)))
    return to(ms.p50), low, high


def _line(
    name: str, look: int, points: Sequence[Point], names: Sequence[str] = (), *, measured: bool = True
) -> Line:
    return Line(
        name,
        [point[:2] for point in points],
        [point[2] for point in points],
        [point[3] for point in points],
        names,
        look,
        hollow=not measured,
    )


def _filling(charts: Iterable[Chart]) -> list[Chart]:
    """Return charts for rows of two; a single one is as wide as the row."""
    found = list(charts)
    return [replace(chart, wide=True) for chart in found] if len(found) == 1 else found
