"""The results of a measurement: the content of ``bench.json``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from ghostclas import __version__
from ghostclas.bench.machine import Machine
from ghostclas.bench.statistics import Spread
from ghostclas.errors import UsageError
from ghostclas.files import is_folder, read_regular
from ghostclas.spec import Frozen, first_problem

MAX_BYTES = 16 << 20
"""The largest ``bench.json`` that is read."""

SCHEMA_VERSION: Final = 1

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0, lt=2**63)]


class Settings(Frozen):
    """The settings of a measurement.

    ``threads`` are measured with one photo; ``batches`` with as many threads as there are cores, or the
    nearest lower number in ``threads``. Each latency is measured ``rounds * runs`` times. ``cold_starts`` and
    ``passes`` count new processes; 0 leaves them out. ``photos`` is the number of photos in a pass. Reported
    figures use the defaults; smaller values give a first impression.
    """

    threads: tuple[Count, ...] = (1, 2, 4)
    batches: tuple[Count, ...] = (1, 4, 8)
    rounds: Count = 30
    runs: Count = 5
    warmup: Annotated[int, Field(ge=0)] = 2
    cold_starts: Annotated[int, Field(ge=0)] = 7
    passes: Annotated[int, Field(ge=0)] = 3
    photos: Count = 256


class Latency(Frozen):
    """The latency of the network for ``batch`` photos on ``threads`` threads, in milliseconds."""

    threads: int
    batch: int
    ms: Spread


class Accuracy(Frozen):
    """Top-1 and top-5 in percent. If not ``measured``, ``source`` published them, for other weights."""

    dataset: str
    top1: float
    top5: float | None = None
    images: Size | None = None
    measured: bool
    source: str | None = None


class CaseResult(Frozen):
    """One model in one engine, at one precision and input size.

    ``size`` is the side of the input in pixels, ``bytes`` the size of the engine's files. ``macs`` are the
    multiply-adds of convolutions and matrix products for one photo. ``cold_start_ms`` is the time from the
    start of a process to its first label, ``images_per_second`` the rate from files to labels, and
    ``peak_memory`` that of the same process in bytes. A figure that was not measured is ``None``.
    """

    model: str
    engine: str
    engine_version: str | None = None
    format: str
    precision: str
    size: Size
    bytes: Size
    macs: Size | None = None
    random_weights: bool = False
    latency: tuple[Latency, ...] = ()
    accuracy: Accuracy | None = None
    cold_start_ms: Spread | None = None
    images_per_second: Spread | None = None
    peak_memory: Size | None = None

    @property
    def name(self) -> str:
        """The values that distinguish it from other cases of the same measurement."""
        return f"{self.model} {self.engine} {self.precision} {self.size}"

    @property
    def flops(self) -> int | None:
        """Floating-point operations: twice ``macs``, a multiplication and an addition each."""
        return None if self.macs is None else 2 * self.macs

    def ms(self, threads: int, batch: int = 1) -> Spread | None:
        """Return the latency at a setting, if it was measured."""
        return next((x.ms for x in self.latency if (x.threads, x.batch) == (threads, batch)), None)


class Noise(Frozen):
    """The noise of the machine, from two copies of one graph that were timed as if they were two.

    ``difference`` is that of their medians, ``width`` the interquartile range of the measurements. Both are
    fractions of a median, in the worst of all settings.
    """

    case: str
    difference: float
    width: float
    allowed_difference: float
    allowed_width: float

    @property
    def noisy(self) -> bool:
        """Whether a relevant difference could be chance."""
        return self.difference > self.allowed_difference or self.width > self.allowed_width


class Results(Frozen):
    """A whole measurement: machine, settings and results; ``skipped`` says what was not measured and why."""

    schema_version: Literal[1] = SCHEMA_VERSION
    ghostclas: str = __version__
    measured: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: Machine
    settings: Settings
    photos: str | None = None
    noise: Noise | None = None
    cases: tuple[CaseResult, ...]
    skipped: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """The threads of batches and plots: all cores, or the nearest number that was measured."""
        return batch_threads(self.settings, self.machine.cores)


def batch_threads(settings: Settings, cores: int) -> int:
    """Return the largest number of threads that the cores can run at once; the smallest if none can."""
    fitting = [threads for threads in settings.threads if threads <= cores]
    return max(fitting, default=min(settings.threads))


def read_results(path: str | Path) -> Results:
    """Read a ``bench.json``, or the one in a directory.

    Raises:
        UsageError: there is none, or it is something else.
    """
    file = Path(path)
    file = file / "bench.json" if is_folder(file) else file
    try:
        return Results.model_validate_json(read_regular(file, MAX_BYTES))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise UsageError(f"{file} is no measurement of ghostclas bench: {first_problem(error)}") from None
