"""The latency of the network in every case and setting, interleaved in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np

from ghostclas.bench.cases import FIXED_THREADS, Case
from ghostclas.bench.noise import judge
from ghostclas.bench.results import Latency, Noise, Settings, batch_threads
from ghostclas.bench.statistics import spread
from ghostclas.engines import open_engine
from ghostclas.timing import Call, interleave


class Setting(NamedTuple):
    """One timing: the number of a case, threads and photos; ``twin`` is the second copy of the case."""

    case: int
    threads: int
    batch: int
    twin: bool = False


def measure_latency(
    cases: Sequence[Case],
    settings: Settings,
    *,
    cores: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[tuple[Latency, ...]], Noise | None]:
    """Time every case at every setting, and the first case a second time as its own twin.

    The photos are noise, since the latency of a network does not depend on its input.

    Returns:
        The latencies of each case, and the noise that the twins show; ``None`` if no setting fits the cores.
    """
    with ExitStack() as stack:
        calls = _calls(cases, settings, cores, stack)
        taken = interleave(
            calls, rounds=settings.rounds, runs=settings.runs, warmup=settings.warmup, progress=progress
        )
    ms = {setting: [1000 * value for value in values] for setting, values in taken.items()}
    latencies = [
        tuple(
            Latency(threads=setting.threads, batch=setting.batch, ms=spread(values))
            for setting, values in ms.items()
            if setting.case == number and not setting.twin
        )
        for number in range(len(cases))
    ]
    pairs = [(spread(ms[s._replace(twin=False)]), spread(values)) for s, values in ms.items() if s.twin]
    return latencies, judge(cases[0].name, pairs)


def settings_of(engine: str, settings: Settings, cores: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of threads and photos at which an engine is timed."""
    most = batch_threads(settings, cores)
    if engine in FIXED_THREADS:
        yield from ((most, batch) for batch in sorted({1, *settings.batches}))
        return
    wanted = chain(
        ((threads, 1) for threads in settings.threads), ((most, batch) for batch in settings.batches)
    )
    yield from dict.fromkeys(wanted)


def _calls(cases: Sequence[Case], settings: Settings, cores: int, stack: ExitStack) -> Mapping[Setting, Call]:
    calls: dict[Setting, Call] = {}
    for number, case in enumerate(cases):
        wanted = list(settings_of(case.engine, settings, cores))
        photos = _noise(case.size, max(batch for _, batch in wanted))
        for twin in (False, True) if number == 0 else (False,):
            fitting = [s for s in wanted if not twin or (s[0] <= cores and s[1] == 1)]
            for threads in dict.fromkeys(threads for threads, _ in fitting):
                engine = stack.enter_context(
                    closing(open_engine(case.engine, case.bundle, threads=threads, precision=case.precision))
                )
                for batch in (batch for other, batch in fitting if other == threads):
                    calls[Setting(number, threads, batch, twin)] = partial(engine.run, photos[:batch])
    return calls


def _noise(size: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
