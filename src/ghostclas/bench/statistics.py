"""The summary of a list of measurements: the median and the spread, never the mean alone."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveFloat

from ghostclas.spec import Frozen


class Spread(Frozen):
    """Measurements of one thing. ``p50`` is their median, ``p25`` to ``p75`` holds the middle half.

    With fewer than a hundred measurements ``p99`` is the slowest of them, or near it.
    """

    count: int
    p25: PositiveFloat
    p50: PositiveFloat
    p75: PositiveFloat
    p95: PositiveFloat
    p99: PositiveFloat

    @property
    def relative(self) -> float:
        """The interquartile range as a fraction of the median."""
        return (self.p75 - self.p25) / self.p50 if self.p50 else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Summarize ``values``, at least one; percentiles are interpolated linearly between ranks."""
    ordered = sorted(values)
    return Spread(
        count=len(ordered),
        **{f"p{q}": _percentile(ordered, q / 100) for q in (25, 50, 75, 95, 99)},
    )


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    at = fraction * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
