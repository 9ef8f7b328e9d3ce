"""The smallest measurement."""

from __future__ import annotations

from ghostclas.bench.results import Settings

TINY = Settings(threads=(1, 2), batches=(1, 2), rounds=2, runs=1, warmup=1, cold_starts=1, passes=1, photos=3)
