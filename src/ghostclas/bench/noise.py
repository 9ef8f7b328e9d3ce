"""The noise of the machine, and whether it is too large for the figures to count."""

from __future__ import annotations

from collections.abc import Sequence

from ghostclas.bench.results import Noise
from ghostclas.bench.statistics import Spread

ALLOWED_DIFFERENCE = 0.05
ALLOWED_WIDTH = 0.25


def judge(case: str, pairs: Sequence[tuple[Spread, Spread]]) -> Noise | None:
    """Compare the separate timings of two equal graphs at each setting; the worst setting counts."""
    if not pairs:
        return None
    return Noise(
        case=case,
        difference=max(abs(a.p50 - b.p50) / min(a.p50, b.p50) for a, b in pairs),
        width=max(one.relative for pair in pairs for one in pair),
        allowed_difference=ALLOWED_DIFFERENCE,
        allowed_width=ALLOWED_WIDTH,
    )


def warning(noise: Noise | None) -> str | None:
    """Return a warning about a noisy machine, or nothing."""
    if noise is None:
        return "nothing was timed twice, so the noise of this machine is not known"
    if not noise.noisy:
        return None
    return (
        f"this machine is noisy: two equal graphs differ by {noise.difference:.1%} "
        f"({noise.allowed_difference:.0%} allowed), and the middle half of the measurements is "
        f"{noise.width:.0%} wide ({noise.allowed_width:.0%} allowed); stop other programs and measure again"
    )
