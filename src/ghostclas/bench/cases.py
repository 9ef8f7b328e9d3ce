"""The cases of a measurement: every model in each requested engine and precision that is available."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from ghostclas.bundle import Bundle, FileEntry, Precision
from ghostclas.engines import ENGINES, installed_engines, open_engine
from ghostclas.engines.choice import FLOATS, supports_precision
from ghostclas.errors import GhostclasError, UsageError, did_you_mean

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

PACKAGES = {"litert": "ai-edge-litert", "inductor": "torch", "mnn": "MNN", "paddle": "paddlepaddle"}
"""The packages of engines that have another name."""


FIXED_THREADS = frozenset({"torch", "executorch"})
"""Engines whose threads belong to the whole process: each is measured once, with its own number."""


@dataclass(frozen=True)
class Case:
    """One model in one engine at one precision. ``entry`` is the file that the engine opens."""

    model: str
    bundle: Bundle
    engine: str
    precision: str
    entry: FileEntry

    @property
    def size(self) -> int:
        """The side of the input in pixels."""
        return self.bundle.preprocess.crop

    @property
    def bytes(self) -> int:
        """The bytes of the engine's files on the disk: the file that it opens and those beside it."""
        return sum(
            other.bytes
            for other in self.bundle.manifest.files
            if other.path == self.entry.path
            or (
                (other.format, other.precision) == (self.entry.format, self.entry.precision)
                and other.input is None
            )
        )

    @property
    def random_weights(self) -> bool:
        """Whether the bundle says that its weights are random."""
        return self.bundle.manifest.provenance.get("weights") == "random"

    @property
    def name(self) -> str:
        """The values that distinguish it from other cases."""
        return f"{self.model} {self.engine} {self.precision} {self.size}"


def find_cases(
    models: Sequence[tuple[str, Bundle]],
    *,
    engines: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
) -> tuple[list[Case], list[str]]:
    """Return the cases that can be measured, and a line for each request that cannot.

    Args:
        models: open bundles with the name of each in the results.
        engines: keys of ``ENGINES``; ``auto`` is the one that predictions would use; all that are installed
            and read a file of the bundle when absent.
        precisions: when absent, all that the bundle has files in, and those in which an engine can compute
            its floating-point files here.

    Raises:
        UsageError: there is no such engine or precision, or nothing at all can be measured.
    """
    _check(engines, ("auto", *ENGINES), "engine")
    _check(precisions, PRECISIONS, "precision")
    cases: list[Case] = []
    skipped: list[str] = []
    for model, bundle in models:
        for engine in _engines(bundle, engines):
            has = _precisions(bundle, engine)
            for precision in has if precisions is None else precisions:
                entry = _entry(bundle, engine, precision)
                try:
                    open_engine(engine, bundle, threads=1, precision=precision).close()
                except GhostclasError as error:
                    skipped.append(f"{model} {engine} {precision}: {_first_line(error)}")
                else:
                    assert entry is not None
                    case = Case(model, bundle, engine, precision, entry)
                    if case.name not in [other.name for other in cases]:
                        cases.append(case)
    if not cases:
        raise UsageError("\n       ".join(["there is nothing here to measure", *skipped]))
    return cases, skipped


def engine_package(engine: str) -> str:
    """Return the name under which an engine's package is installed."""
    return PACKAGES.get(engine, engine)


def _check(words: Sequence[str] | None, known: Sequence[str], kind: str) -> None:
    for word in words or ():
        if word not in known:
            near = did_you_mean(word, known) or f"; there are: {', '.join(known)}"
            raise UsageError(f"there is no {kind} {word!r}{near}")


def _engines(bundle: Bundle, wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return [name for name in installed_engines() if _precisions(bundle, name)]
    return list(dict.fromkeys(_automatic(bundle) if name == "auto" else name for name in wanted))


def _automatic(bundle: Bundle) -> str:
    engine = open_engine("auto", bundle)
    engine.close()
    return engine.name


def _precisions(bundle: Bundle, engine: str) -> list[str]:
    formats = ENGINES[engine].formats
    has = {entry.precision for entry in bundle.manifest.files if entry.input and entry.format in formats}
    if has.intersection(FLOATS):
        others = ENGINES[engine].inference_precisions
        has.update(other for other in others if supports_precision(engine, other))
    return [precision for precision in PRECISIONS if precision in has]


def _entry(bundle: Bundle, engine: str, precision: str) -> FileEntry | None:
    """Return the file that ``open_engine`` takes: the best format that has this precision.

    If an engine computes in a precision without a file, it starts from its most precise file.
    """
    for wanted in (precision, *PRECISIONS):
        for known in ENGINES[engine].formats:
            for entry in bundle.manifest.files:
                if entry.input is not None and (entry.format, entry.precision) == (known, wanted):
                    return entry
    return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
