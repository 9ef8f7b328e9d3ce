"""Plots of the results."""

from __future__ import annotations

import io
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ghostclas.bench.results import CaseResult, Results
from ghostclas.extras import require

COLOURS = ("#1f5fa8", "#d1495b", "#2a8c6d", "#e0912f", "#7a4fa3", "#4a9cc9", "#8c5a3c", "#5f6770")
"""Colours that differ on paper, on a screen and for the colour-blind, in this order."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INK, MUTED, GRID = "#23272e", "#6b7280", "#d9dde3"

_DPI = 150
_PANEL = (6.2, 4.6)


class Plot(NamedTuple):
    """One plot: its title, and the function that draws it if there are enough points."""

    title: str
    figure: Callable[[Results], Any | None]


class Point(NamedTuple):
    """A case in a plot of accuracy."""

    name: str
    family: str
    x: float
    y: float
    measured: bool


def draw(results: Results) -> dict[str, bytes]:
    """Return the plots that have points to show, as PNG files by name.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="report")
    plots = {}
    for name, plot in PLOTS.items():
        figure = plot.figure(results)
        if figure is not None:
            stream = io.BytesIO()
            figure.savefig(stream, dpi=_DPI, format="png", facecolor="white")
            plots[name] = stream.getvalue()
    return plots


def family_of(model: str) -> str:
    """Return the part of a model's name that its widths share: ``ghostnet`` of ``ghostnet_x1_0``."""
    plain = re.split(r"[*/\s]", model)[0]
    return re.sub(r"(_(x?\d[\dx._]*|small|medium|large|lite\d?))+$", "", re.sub(r"(lite)\d$", r"\1", plain))


def _accuracy_latency(results: Results) -> Any | None:
    threads = results.threads
    panels: dict[str, list[Point]] = defaultdict(list)
    for case in results.cases:
        ms = case.ms(threads)
        if case.accuracy and ms:
            panels[f"{case.engine}, {case.precision}"].append(_point(case, results, ms.p50))
    return _accuracy(panels, f"milliseconds for one photo, {_threads(threads)}", results)


def _accuracy_size(results: Results) -> Any | None:
    # Engines that read the same file share its marker, at any precision.
    panels: dict[str, list[Point]] = defaultdict(list)
    files: set[tuple[str, str, int]] = set()
    for case in results.cases:
        if case.accuracy:
            point = _point(case, results, case.bytes / 1e6)
            file = (point.name, case.format, case.bytes)
            if file not in files:
                panels[f"{case.format}, {case.precision}"].append(point)
            files.add(file)
    return _accuracy(panels, "megabytes on the disk", results)


def _accuracy(panels: Mapping[str, Sequence[Point]], label: str, results: Results) -> Any | None:
    shown = {title: points for title, points in panels.items() if len(points) > 1}
    if not shown:
        return None
    figure, grid = _panels(len(shown))
    families = _styles(family_of(case.model) for case in results.cases)
    for axes, (title, points) in zip(grid, shown.items(), strict=False):
        for family, (colour, marker) in families.items():
            own = sorted((p for p in points if p.family == family), key=lambda p: p.x)
            axes.plot([p.x for p in own], [p.y for p in own], color=colour, lw=1.4, alpha=0.55, zorder=2)
            for measured in (True, False):
                some = [p for p in own if p.measured == measured]
                axes.scatter(
                    [p.x for p in some],
                    [p.y for p in some],
                    s=52,
                    marker=marker,
                    facecolor=colour if measured else "white",
                    edgecolor=colour,
                    linewidth=1.6,
                    zorder=3,
                )
        _style_axes(axes, title, label, f"top-1, %{_on(results)}")
        _set_limits(axes, [p for points in shown.values() for p in points])
        _label(figure, axes, [(p.name, p.x, p.y, families[p.family][0]) for p in points])
    if any(not p.measured for points in shown.values() for p in points):
        _footnote(figure, "open marks: accuracy as published, not measured here")
    return figure


def _threads_figure(results: Results) -> Any | None:
    settings = sorted(results.settings.threads)
    cores = results.machine.cores

    def line(case: CaseResult) -> list[tuple[float, float]]:
        return [(threads, ms.p50) for threads in settings if (ms := case.ms(threads))]

    figure = _lines(results, line, settings, "threads, one photo", "milliseconds")
    if figure is not None:
        for axes in figure.axes:
            if settings[0] < cores < settings[-1]:
                axes.axvline(cores, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
                axes.annotate(
                    f"{cores} cores",
                    (cores, 1),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    xytext=(4, -12),
                    color=MUTED,
                    fontsize=8.5,
                )
    return figure


def _batches_figure(results: Results) -> Any | None:
    threads = results.threads
    settings = sorted({1, *results.settings.batches})

    def line(case: CaseResult) -> list[tuple[float, float]]:
        return [(batch, 1000 * batch / ms.p50) for batch in settings if (ms := case.ms(threads, batch))]

    return _lines(results, line, settings, f"photos in a batch, {_threads(threads)}", "photos a second")


def _lines(
    results: Results,
    line: Callable[[CaseResult], list[tuple[float, float]]],
    ticks: Sequence[int],
    x_label: str,
    y_label: str,
) -> Any | None:
    panels: dict[str, list[tuple[str, list[tuple[float, float]]]]] = defaultdict(list)
    for case in results.cases:
        points = line(case)
        if len(points) > 1:
            panels[f"{case.engine}, {case.precision}"].append((_short(case, results), points))
    if not panels:
        return None
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure, grid = _panels(len(panels))
    families = _styles(family_of(case.model) for case in results.cases)
    values = [y for lines in panels.values() for _, points in lines for _, y in points]
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        for name, points in lines:
            colour, marker = families[family_of(name)]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=6, lw=1.6, zorder=3)
        _style_axes(axes, title, x_label, y_label)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
        axes.minorticks_off()
        axes.set_xlim(ticks[0] / 1.12, ticks[-1] * (ticks[-1] / ticks[0]) ** 0.54)
        axes.set_ylim(min(values) / 1.3, max(values) * 1.3)
        _label_ends(axes, [(name, *points[-1], families[family_of(name)][0]) for name, points in lines])
    return figure


# ------------------------------------------------------------------ labels


def _point(case: CaseResult, results: Results, x: float) -> Point:
    assert case.accuracy
    name = _short(case, results)
    return Point(name, family_of(case.model), x, case.accuracy.top1, case.accuracy.measured)


def _short(case: CaseResult, results: Results) -> str:
    sizes = {other.size for other in results.cases if other.model == case.model}
    return f"{case.model} {case.size}" if len(sizes) > 1 else case.model


def _threads(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def _on(results: Results) -> str:
    datasets = {case.accuracy.dataset for case in results.cases if case.accuracy}
    return f" on {datasets.pop()}" if len(datasets) == 1 else ""


# ------------------------------------------------------------------ drawing


def _panels(count: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(count, 2)
    rows = -(-count // columns)
    width = _PANEL[0] * columns + (1.4 if columns == 1 else 0)
    figure = Figure(figsize=(width, _PANEL[1] * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in grid[count:]:
        unused.remove()
    return figure, grid[:count]


def _styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    return {
        name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }


def _style_axes(axes: Any, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(x_label, color=INK, fontsize=10)
    axes.set_ylabel(y_label, color=INK, fontsize=10)
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)


def _set_limits(axes: Any, points: Sequence[Point]) -> None:
    """Set limits that leave room for every point and its label."""
    xs, ys = [p.x for p in points], [p.y for p in points]
    wide, high = max(xs) - min(xs) or max(xs), max(ys) - min(ys) or 1.0
    axes.set_xlim(max(0.0, min(xs) - 0.14 * wide), max(xs) + 0.22 * wide)
    axes.set_ylim(min(ys) - 0.14 * high, max(ys) + 0.14 * high)


def _footnote(figure: Any, text: str) -> None:
    figure.supxlabel(text, x=0.995, ha="right", fontsize=8.5, color=MUTED)


def _label(figure: Any, axes: Any, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each label beside its marker, on the first side without overlap."""
    from matplotlib.transforms import Bbox

    sides: list[tuple[int, int, str]] = [
        (8, -3, "left"),
        (-8, -3, "right"),
        (0, 9, "center"),
        (0, -16, "center"),
    ]
    sides += [(8, 8, "left"), (8, -14, "left"), (-8, 8, "right"), (-8, -14, "right")]
    figure.draw_without_rendering()
    taken = []
    for _, x, y, _ in labels:
        at = axes.transData.transform((x, y))
        taken.append(Bbox.from_extents(at[0] - 6, at[1] - 6, at[0] + 6, at[1] + 6))
    inside = axes.get_window_extent()
    for name, x, y, colour in sorted(labels, key=lambda label: -label[2]):
        tried = []
        for dx, dy, align in sides:
            text = axes.annotate(
                name,
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=align,
                color=colour,
                fontsize=8.5,
                path_effects=_halo(),
                zorder=4,
            )
            box = text.get_window_extent()
            outside = box.x1 > inside.x1 or box.x0 < inside.x0 or box.y1 > inside.y1 or box.y0 < inside.y0
            tried.append((outside + sum(box.overlaps(other) for other in taken), text, box))
            if tried[-1][0] == 0:
                break
        best = min(range(len(tried)), key=lambda i: tried[i][0])
        for number, (_, text, box) in enumerate(tried):
            if number == best:
                taken.append(box)
            else:
                text.remove()


def _label_ends(axes: Any, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each label at the end of its line, moved apart where ends are close together."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    ordered = sorted(labels, key=lambda label: label[2])
    heights = apart([math.log(y) for _, _, y, _ in ordered], (high - low) * 0.047)
    for (name, x, y, colour), height in zip(ordered, heights, strict=True):
        at = math.exp(height)
        axes.plot([x * 1.05, x * 1.14], [y, at], color=colour, lw=0.8, alpha=0.6, solid_capstyle="round")
        axes.annotate(
            name,
            (x * 1.17, at),
            va="center",
            color=colour,
            fontsize=8.5,
            annotation_clip=False,
            path_effects=_halo(),
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Return ascending heights, moved as little as needed to be ``gap`` apart."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        # A group is centred on the mean of its own heights; groups that would overlap are merged.
        while len(groups) > 1 and _edge(groups[-2], gap, 1) + gap > _edge(groups[-1], gap, -1):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_edge(group, gap, -1) + number * gap for group in groups for number in range(len(group))]


def _halo() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=3, foreground="white")]


def _edge(group: Sequence[float], gap: float, side: int) -> float:
    return sum(group) / len(group) + side * (len(group) - 1) / 2 * gap


PLOTS: Mapping[str, Plot] = {
    "accuracy_latency.png": Plot("Accuracy against latency", _accuracy_latency),
    "accuracy_size.png": Plot("Accuracy against size", _accuracy_size),
    "threads.png": Plot("Latency at more threads", _threads_figure),
    "batches.png": Plot("Throughput at larger batches", _batches_figure),
}
