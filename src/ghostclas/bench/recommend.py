"""The most accurate of the measured models within a budget of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ghostclas.bench.results import Results
from ghostclas.errors import GhostclasError


class Choice(NamedTuple):
    """One case as a choice: the median for one photo in ms, its 95th percentile, and top-1 in percent."""

    case: str
    ms: float
    p95: float
    top1: float
    bytes: int


def choices(results: Results, *, threads: int | None = None) -> list[Choice]:
    """Return the cases whose accuracy and latency were measured, fastest first.

    ``threads`` is how many a photo may use; all cores when absent. Published accuracies do not count, since
    they are those of other weights.
    """
    wanted = results.threads if threads is None else threads
    found = []
    for case in results.cases:
        ms = case.ms(wanted)
        if ms and case.accuracy and case.accuracy.measured:
            found.append(Choice(case.name, ms.p50, ms.p95, case.accuracy.top1, case.bytes))
    return sorted(found, key=lambda choice: (choice.ms, -choice.top1))


def pareto_front(found: Sequence[Choice]) -> list[Choice]:
    """Return the Pareto front, fastest first: every other choice is slower or less accurate."""
    front: list[Choice] = []
    for choice in sorted(found, key=lambda choice: (choice.ms, -choice.top1)):
        if not front or choice.top1 > front[-1].top1:
            front.append(choice)
    return front


def recommend(found: Sequence[Choice], max_ms: float) -> Choice:
    """Return the most accurate choice whose median is within ``max_ms``; of equal ones the fastest.

    Raises:
        GhostclasError: there is none.
    """
    if not found:
        raise GhostclasError("no model has a measured accuracy, so there is no choice")
    fitting = [choice for choice in pareto_front(found) if choice.ms <= max_ms]
    if not fitting:
        fastest = min(found, key=lambda choice: choice.ms)
        raise GhostclasError(
            f"nothing is within {max_ms:g} ms: the fastest, {fastest.case}, takes {fastest.ms:.2f} ms\n"
            "       try a narrower model, a smaller --size, or another engine"
        )
    return fitting[-1]
