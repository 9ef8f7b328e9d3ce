"""The differences between two measurements, and which of them are regressions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from ghostclas.bench.results import CaseResult, Results

TOLERANCE = 0.10
ACCURACY_TOLERANCE = 0.5

Verdict = Literal["same", "better", "worse", "gone"]


class Figure(NamedTuple):
    """One figure of a case. ``tolerance`` is absolute for ``points`` and a part of the figure otherwise."""

    name: str
    value: float
    unit: str
    tolerance: float
    more_is_better: bool = False
    points: bool = False


class Change(NamedTuple):
    """A figure before and after. ``after`` is ``None`` where it is no longer measured."""

    case: str
    figure: str
    unit: str
    before: float
    after: float | None
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        """The figure after, divided by the figure before."""
        return self.after / self.before if self.after is not None and self.before else None


def compare(
    before: Results,
    after: Results,
    *,
    tolerance: float = TOLERANCE,
    accuracy_tolerance: float = ACCURACY_TOLERANCE,
) -> list[Change]:
    """Return every figure of ``before`` in its order, with the figure after.

    A time, a rate or a size is worse if it changed by more than ``tolerance``, a part of the figure, and by
    more than both machines' own noise. Accuracy is worse if it fell by more than ``accuracy_tolerance``
    points. Medians of times are compared. A figure that is no longer measured is ``gone``.
    """
    noise = max(r.noise.difference if r.noise else 0.0 for r in (before, after))
    found = {case.name: case for case in after.cases}
    changes = []
    for case in before.cases:
        now = found.get(case.name)
        figures = {f.name: f.value for f in _figures(now, 0, 0)} if now else {}
        for figure in _figures(case, max(tolerance, noise), accuracy_tolerance):
            value = figures.get(figure.name)
            changes.append(
                Change(case.name, figure.name, figure.unit, figure.value, value, _verdict(figure, value))
            )
    return changes


def worse(changes: list[Change]) -> list[Change]:
    """Return the changes that should fail a check."""
    return [change for change in changes if change.verdict in ("worse", "gone")]


def other_machine(before: Results, after: Results) -> str | None:
    """Return a line for each condition in which the two measurements differ."""
    differing = [
        f"{name} {getattr(before.machine, name)} and {getattr(after.machine, name)}"
        for name in ("cpu", "cores", "system", "python")
        if getattr(before.machine, name) != getattr(after.machine, name)
    ]
    old, new = before.machine.packages, after.machine.packages
    differing += [
        f"{name} {old[name]} and {new[name]}" for name in old if name in new and old[name] != new[name]
    ]
    return f"not measured alike: {', '.join(differing)}" if differing else None


def _figures(case: CaseResult, tolerance: float, accuracy_tolerance: float) -> Iterator[Figure]:
    for latency in case.latency:
        name = f"latency, threads {latency.threads}, batch {latency.batch}"
        yield Figure(name, latency.ms.p50, "ms", tolerance)
    if case.cold_start_ms:
        yield Figure("cold start", case.cold_start_ms.p50, "ms", tolerance)
    if case.images_per_second:
        yield Figure("photos/s", case.images_per_second.p50, "", tolerance, more_is_better=True)
    if case.peak_memory:
        yield Figure("peak memory", case.peak_memory / 1e6, "MB", tolerance)
    yield Figure("size", case.bytes / 1e6, "MB", tolerance)
    if case.accuracy and case.accuracy.measured:
        name = f"top-1 on {case.accuracy.dataset}"
        yield Figure(name, case.accuracy.top1, "%", accuracy_tolerance, more_is_better=True, points=True)


def _verdict(figure: Figure, value: float | None) -> Verdict:
    if value is None:
        return "gone"
    gain = value - figure.value if figure.more_is_better else figure.value - value
    # By ratio, so that half the time and twice the time are equally far away.
    allowed = figure.tolerance if figure.points else figure.tolerance * min(figure.value, value)
    if abs(gain) <= allowed:
        return "same"
    return "better" if gain > 0 else "worse"
