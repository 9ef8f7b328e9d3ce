"""Line charts as SVG in a page: they follow its colours, light or dark, and need no picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log, log10
from pathlib import Path
from typing import Any, TypeAlias

Points = Sequence[tuple[float, float]]
Box: TypeAlias = tuple[float, float, float, float]
"""(left, top, right, bottom) in units of the drawing."""
Place: TypeAlias = Callable[[float, float], tuple[float, float]]

COLOURS = 8
"""So many lines differ in colour (``--line-0`` and so on in the base page); more repeat them, dashed."""

WIDTH, HEIGHT = 520, 320
WIDE, HIGH = 1060, 460
"""The drawing of a chart with many labels, which has a row of the page for itself."""
_LEFT, _TOP = 62, 14
_RIGHT_MARGIN, _BOTTOM_MARGIN = 12, 48
_TICKS = 5
_FEW_TICKS = 3
_DOTS = 40
"""Up to so many points of a line are drawn as dots, with their values to point at."""
_LETTER, _LETTERS_HIGH = 8.0, 17.0
"""The room for a letter of a label, that of a phone included, where letters are larger than the drawing."""
_APART = 7.0
_SAME = 1e-9
_ENDS = (1 / 1.15, 1.15)
"""A logarithmic axis with one value reaches so far to both sides."""
_SVG = Path(__file__).with_name("chart.svg.jinja")


@dataclass(frozen=True)
class Line:
    """One line of a chart. ``low`` and ``high`` bound its interval at each point, drawn as a pale band."""

    name: str
    points: Points
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    names: Sequence[str] = ()
    """names of the points, where the line's own would not tell them apart"""
    look: int | None = None
    """the number of its colour; its place in the chart when absent"""
    hollow: bool = False
    """draw its points as open circles"""


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
    ticks: Sequence[float] = ()
    """The values of ``x`` to write on its axis; round ones when absent."""
    log_x: bool = False
    log_y: bool = False
    """Equal ratios are equally far apart. All values are above 0."""
    bars: bool = False
    """Draw intervals as error bars."""
    across: bool = False
    """The intervals are those of ``x``."""
    labels: Sequence[tuple[str, float, float]] = ()
    """Names to write beside points, each with the point's values."""
    wide: bool = False
    """Draw it ``WIDE`` and ``HIGH``."""


@dataclass(frozen=True)
class _Axis:
    """The values from ``low`` to ``high`` between two places of the drawing."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (log(self.low), log(self.high)) if self.log else (self.low, self.high)
        part = ((log(value) if self.log else value) - low) / ((high - low) or 1)
        return round(self.start + (self.end - self.start) * part, 1)


def drawing(chart: Chart) -> dict[str, Any]:
    """Return the chart as the macro ``line_chart`` of ``parts.html.jinja`` takes it; without lines, no ticks.

    Points that are not finite are left out.
    """
    lines = [_finite(line) for line in chart.lines]
    bounds = [value for line in lines for value in (*line.low, *line.high)]
    xs = [x for line in lines for x, _ in line.points] + (bounds if chart.across else [])
    ys = [y for line in lines for _, y in line.points] + ([] if chart.across else bounds)
    least, most = (1.0, 10.0) if chart.log_y else (0.0, 1.0)
    up = _ticks(min(ys, default=least), max(ys, default=most), log_scale=chart.log_y)
    if chart.share:
        up = [tick for tick in up if 0 <= tick <= 100]
    left, right = _room(xs, chart)
    across = chart.ticks or _inside(_ticks(left, right, log_scale=chart.log_x), left, right)
    if len(across) < _FEW_TICKS:
        across = chart.ticks or _inside(_ticks(left, right), left, right)
    width, height = (WIDE, HIGH) if chart.wide else (WIDTH, HEIGHT)
    inside = (_LEFT, _TOP, width - _RIGHT_MARGIN, height - _BOTTOM_MARGIN)
    x_axis = _Axis(left, right, inside[0], inside[2], chart.log_x)
    y_axis = _Axis(min([*up, *ys]), max([*up, *ys]), inside[3], inside[1], chart.log_y)

    def place(x: float, y: float) -> tuple[float, float]:
        return x_axis(x), y_axis(y)

    drawn = [_drawn(line, number, chart, place) for number, line in enumerate(lines) if line.points]
    return {
        "title": chart.title,
        "x": chart.x,
        "note": chart.note,
        "legend": list({line["name"]: line for line in drawn}.values()) if chart.legend else [],
        "width": width,
        "height": height,
        "wide": chart.wide,
        "left": inside[0],
        "right": inside[2],
        "bottom": inside[3],
        "across": [(x_axis(x), _text(x)) for x in across],
        "up": [(y_axis(y), f"{_text(y)}{chart.unit}") for y in up],
        "lines": drawn,
        "labels": _placed(
            [(name, *place(x, y)) for name, x, y in chart.labels],
            [
                *((x - 4, y - 4, x + 4, y + 4) for line in drawn for x, y, _ in line["dots"]),
                *((a - 1, b - 3, c + 1, d + 3) for line in drawn for a, b, c, d in line["bars"]),
            ],
            inside,
        ),
    }


def picture(chart: Chart) -> str:
    """Return the chart with its legend as an SVG file, for documents; it follows the reader's colours.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    from ghostclas.pages import render

    return render(_SVG, chart=drawing(chart))


def _room(xs: Sequence[float], chart: Chart) -> tuple[float, float]:
    """Return the least and the largest value of the axis ``x``: with labels, there is room for them."""
    left, right = (min(xs), max(xs)) if xs else (1.0, 10.0) if chart.log_x else (0.0, 1.0)
    if not chart.labels:
        return left, right
    if chart.log_x:
        more = (right / left) ** 0.12 if right > left * (1 + _SAME) else _ENDS[1]
        return left / more, right * more
    more = 0.12 * (right - left) or 0.1 * abs(right) or 1.0
    return left - more, right + more


def _drawn(line: Line, number: int, chart: Chart, place: Place) -> dict[str, Any]:
    placed = [place(x, y) for x, y in line.points]
    band, bars = "", list[Box]()
    if line.low and chart.bars:
        for (x, y), low, high in zip(line.points, line.low, line.high, strict=True):
            (left, bottom), (right, top) = (
                (place(low, y), place(high, y)) if chart.across else (place(x, low), place(x, high))
            )
            bars.append((left, top, right, bottom))
    elif line.low:
        edge = [place(x, high) for (x, _), high in zip(line.points, line.high, strict=True)]
        edge += reversed([place(x, low) for (x, _), low in zip(line.points, line.low, strict=True)])
        band = _path(edge)
    few = len(placed) <= _DOTS
    names = line.names or [line.name] * len(placed)
    look = number if line.look is None else line.look
    return {
        "name": line.name,
        "colour": f"var(--line-{look % COLOURS})",
        "dash": "" if look < COLOURS else "6 4",
        "hollow": line.hollow,
        "path": _path(placed),
        "band": band,
        "bars": bars,
        "bar": "".join(map(_bar, bars)),
        "dots": [
            (*at, f"{name}: {_text(y)}{chart.unit} at {_text(x)}")
            for at, name, (x, y) in zip(placed, names, line.points, strict=True)
        ]
        if few
        else [],
    }


def _bar(ends: Box) -> str:
    """Return the path of an error bar, across or upright, with its two ends."""
    left, top, right, bottom = ends
    if top == bottom:
        return f"M{left:g} {top - 3:g}v6m0 -3H{right:g}m0 -3v6"
    return f"M{left - 3:g} {bottom:g}h6m-3 0V{top:g}m-3 0h6"


def _placed(
    labels: Sequence[tuple[str, float, float]], marks: Sequence[Box], inside: Box
) -> list[dict[str, Any]]:
    """Return where each label is written: beside its point, within the axes, over as little as possible."""
    taken = list(marks)
    found = []
    for name, x, y in sorted(labels, key=lambda label: (label[2], label[1])):
        wide = _LETTER * len(name)
        right, left, middle = x + _APART, x - _APART - wide, x - wide / 2
        above, beside, below = y - _APART - _LETTERS_HIGH, y - _LETTERS_HIGH / 2, y + _APART
        sides = [(right, beside), (left, beside), (middle, above), (middle, below)]
        sides += [(at, height) for height in (above, below) for at in (right, left)]
        # Where it is crowded, a row farther off.
        sides += [(at, above - _LETTERS_HIGH) for at in (middle, right, left)]
        sides += [(at, below + _LETTERS_HIGH) for at in (middle, right, left)]
        boxes = [_within(left, top, wide, inside) for left, top in sides]
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        start = abs(best[0] - x) <= abs(best[2] - x)
        middle = abs(abs(best[0] - x) - abs(best[2] - x)) < wide / 4
        anchor = "middle" if middle else "start" if start else "end"
        at = {"start": best[0], "end": best[2], "middle": (best[0] + best[2]) / 2}[anchor]
        found.append({"text": name, "x": round(at, 1), "y": round(best[3] - 4.5, 1), "anchor": anchor})
    return found


def _within(left: float, top: float, wide: float, inside: Box) -> Box:
    left = max(min(left, inside[2] - wide), inside[0])
    top = max(min(top, inside[3] - _LETTERS_HIGH), inside[1])
    return left, top, left + wide, top + _LETTERS_HIGH


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _finite(line: Line) -> Line:
    kept = [place for place, (x, y) in enumerate(line.points) if isfinite(x) and isfinite(y)]
    if len(kept) == len(line.points):
        return line

    def only(values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in kept] if values else []

    return Line(
        line.name,
        only(line.points),
        only(line.low),
        only(line.high),
        only(line.names),
        line.look,
        line.hollow,
    )


def _inside(ticks: Sequence[float], low: float, high: float) -> list[float]:
    return [tick for tick in ticks if low <= tick <= high]


def _ticks(low: float, high: float, *, log_scale: bool = False) -> list[float]:
    """Return round numbers that span the values, about ``_TICKS`` of them."""
    if log_scale:
        return _log_ticks(low, high)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(step * place, 10) for place in range(floor(low / step), ceil(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return numbers of the row 1, 2, 5, 10 that span the values; powers of ten alone if these are many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= _TICKS else (1,)
    row = [float(f"{factor}e{power}") for power in powers for factor in factors]
    first = max((place for place, tick in enumerate(row) if tick <= low), default=0)
    last = min((place for place, tick in enumerate(row) if tick >= high), default=len(row) - 1)
    return row[first : max(last, first + 1) + 1]


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
