"""Cold start, memory and photos a second, each measured in new processes that start in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ghostclas.bench.cases import Case
from ghostclas.bench.fresh import Fresh, run_fresh
from ghostclas.bench.results import Settings
from ghostclas.bench.statistics import Spread, spread


class EndToEnd(NamedTuple):
    """The cost of a case from files to labels; see ``results.CaseResult``."""

    cold_start_ms: Spread | None
    images_per_second: Spread | None
    peak_memory: int | None


def measure_end_to_end(
    cases: Sequence[Case],
    settings: Settings,
    folder: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[EndToEnd]:
    """Start the cases in turn, several times; one uncounted start each first loads their files into memory.

    Args:
        cases: the cases to start.
        settings: the number of starts.
        folder: photos to label.
        progress: called after each round.
    """
    first = min(folder.iterdir())
    rounds = max(settings.cold_starts, settings.passes)
    found: list[list[Fresh]] = [[] for _ in cases]
    for number in range(-1, rounds):
        for case, outcomes in zip(cases, found, strict=True):
            whole = folder if 0 <= number < settings.passes else None
            outcome = run_fresh(case.bundle.path, case.engine, case.precision, first, whole)
            if number >= 0:
                outcomes.append(outcome)
        progress(number + 1, rounds)
    return [_summary(outcomes, settings) for outcomes in found]


def _summary(outcomes: Sequence[Fresh], settings: Settings) -> EndToEnd:
    starts = [1000 * outcome.seconds for outcome in outcomes[: settings.cold_starts]]
    rates = [o.images_per_second for o in outcomes if o.images_per_second is not None]
    peaks = [o.peak_memory for o in outcomes if o.peak_memory is not None]
    return EndToEnd(
        spread(starts) if starts else None, spread(rates) if rates else None, max(peaks, default=None)
    )
