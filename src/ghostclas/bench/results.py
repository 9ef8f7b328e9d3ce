"""What a measurement is once it is made: the content of ``bench.json``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from ghostclas import __version__
from ghostclas.bench.machine import Machine
from ghostclas.bench.statistics import Spread
from ghostclas.errors import UsageError
from ghostclas.spec import Frozen

SCHEMA_VERSION: Final = 1

Count = Annotated[int, Field(ge=1)]


class Settings(Frozen):
    """What to measure, and how often.

    ``threads`` are measured with one photo, ``batches`` with as many threads as there are cores, or the
    nearest number below that is in ``threads``. ``rounds * runs`` are counted for each latency.
    ``cold_starts`` and ``passes`` are of fresh processes; 0 leaves them out. ``photos`` is how many are
    labelled in a pass. The defaults are what is reported; smaller ones are for looking.
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
    """How long the network takes for ``batch`` photos on ``threads`` threads, in milliseconds."""

    threads: int
    batch: int
    ms: Spread


class Accuracy(Frozen):
    """Top-1 and top-5 in percent. What was not ``measured``, ``source`` published, for other weights."""

    dataset: str
    top1: float
    top5: float | None = None
    images: int | None = None
    measured: bool
    source: str | None = None


class CaseResult(Frozen):
    """One model in one engine, at one precision and input size.

    ``size`` is the side of the input in pixels, ``bytes`` what the engine's files take on the disk. ``macs``
    are the multiply-adds of convolutions and matrix products for one photo. ``cold_start_ms`` is from the
    start of a process to its first label, ``images_per_second`` from files to labels, ``peak_memory`` in
    bytes, of the process that did that. ``None`` is what was not measured.
    """

    model: str
    engine: str
    engine_version: str | None = None
    format: str
    precision: str
    size: int
    bytes: int
    macs: int | None = None
    random_weights: bool = False
    latency: tuple[Latency, ...] = ()
    accuracy: Accuracy | None = None
    cold_start_ms: Spread | None = None
    images_per_second: Spread | None = None
    peak_memory: int | None = None

    @property
    def name(self) -> str:
        """What tells it from the others of the same measurement."""
        return f"{self.model} {self.engine} {self.precision} {self.size}"

    @property
    def flops(self) -> int | None:
        """Floating-point operations: twice ``macs``, a multiplication and an addition each."""
        return None if self.macs is None else 2 * self.macs

    def ms(self, threads: int, batch: int = 1) -> Spread | None:
        """Return the latency at a setting, if it was measured."""
        return next((x.ms for x in self.latency if (x.threads, x.batch) == (threads, batch)), None)


class Noise(Frozen):
    """How far two copies of one graph, timed as if they were two, came apart.

    ``difference`` is between their medians, ``width`` that of the middle half of the measurements, both as
    parts of a median and the worst of all settings.
    """

    case: str
    difference: float
    width: float
    allowed_difference: float
    allowed_width: float

    @property
    def noisy(self) -> bool:
        """Whether differences of the size that matters could be chance."""
        return self.difference > self.allowed_difference or self.width > self.allowed_width


class Results(Frozen):
    """A whole measurement: on what, how, and what came out; ``skipped`` says what did not and why."""

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
        """With how many threads batches, and pictures, are: all cores, or the nearest that was measured."""
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
    file = file / "bench.json" if file.is_dir() else file
    try:
        return Results.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise UsageError(
            f"{file} is no measurement of ghostclas bench: {f'{where}: ' if where else ''}{problem['msg']}"
        ) from None
