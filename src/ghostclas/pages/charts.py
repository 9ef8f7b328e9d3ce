"""Line charts as SVG in a page: they follow its colours, light or dark, and need no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Any

Points = Sequence[tuple[float, float]]

COLOURS = 8
"""So many lines differ in colour (``--line-0`` and so on in the base page); more repeat them, dashed."""

WIDTH, HEIGHT = 520, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 508, 14, 272
_TICKS = 5
_DOTS = 40
"""Up to so many points of a line are drawn as dots, with their values to point at."""


@dataclass(frozen=True)
class Line:
    """One line of a chart. ``low`` and ``high`` bound its interval at each point, drawn as a pale band."""

    name: str
    points: Points
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over one pair of axes. ``unit`` follows the values, such as ``" %"``."""

    title: str
    x: str
    lines: Sequence[Line]
    unit: str = ""
    note: str = ""
    legend: bool = False
    """Name the lines below the chart."""
    share: bool = False
    """The values are percentages, and so never beyond 0 and 100."""


def drawing(chart: Chart) -> dict[str, Any]:
    """Return the chart as the macro ``line_chart`` of ``parts.html.jinja`` takes it; without lines, no ticks.

    Points that are not finite are left out.
    """
    lines = [_finite(line) for line in chart.lines]
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + [
        y for line in lines for y in (*line.low, *line.high)
    ]
    across, up = (
        _ticks(min(xs, default=0), max(xs, default=1)),
        _ticks(min(ys, default=0), max(ys, default=1)),
    )
    if chart.share:
        up = [tick for tick in up if 0 <= tick <= 100]
    left, right = (min(xs), max(xs)) if xs else (0.0, 1.0)
    low, high = min([*up, *ys]), max([*up, *ys])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            round(_LEFT + (_RIGHT - _LEFT) * (x - left) / ((right - left) or 1), 1),
            round(_BOTTOM - (_BOTTOM - _TOP) * (y - low) / ((high - low) or 1), 1),
        )

    return {
        "title": chart.title,
        "x": chart.x,
        "note": chart.note,
        "legend": chart.legend,
        "width": WIDTH,
        "height": HEIGHT,
        "left": _LEFT,
        "right": _RIGHT,
        "bottom": _BOTTOM,
        "across": [(place(x, low)[0], _text(x)) for x in across if left <= x <= right],
        "up": [(place(left, y)[1], f"{_text(y)}{chart.unit}") for y in up],
        "lines": [
            _drawn(line, number, chart.unit, place) for number, line in enumerate(lines) if line.points
        ],
    }


def _drawn(line: Line, number: int, unit: str, place: Any) -> dict[str, Any]:
    placed = [place(x, y) for x, y in line.points]
    band = ""
    if line.low:
        edge = [place(x, high) for (x, _), high in zip(line.points, line.high, strict=True)]
        edge += reversed([place(x, low) for (x, _), low in zip(line.points, line.low, strict=True)])
        band = _path(edge)
    few = len(placed) <= _DOTS
    return {
        "name": line.name,
        "colour": f"var(--line-{number % COLOURS})",
        "dash": "" if number < COLOURS else "6 4",
        "path": _path(placed),
        "band": band,
        "dots": [
            (*at, f"{line.name}: {_text(y)}{unit} at {_text(x)}")
            for at, (x, y) in zip(placed, line.points, strict=True)
        ]
        if few
        else [],
    }


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _finite(line: Line) -> Line:
    kept = [place for place, (x, y) in enumerate(line.points) if isfinite(x) and isfinite(y)]
    if len(kept) == len(line.points):
        return line
    bounds = ([bound[place] for place in kept] if bound else () for bound in (line.low, line.high))
    return Line(line.name, [line.points[place] for place in kept], *bounds)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers that span the values, about ``_TICKS`` of them."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(step * place, 10) for place in range(floor(low / step), ceil(high / step) + 1)]


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
