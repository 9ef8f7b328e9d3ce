"""The choice of the engine, of the file that it opens, and of the precision that it computes in."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

from ghostclas.bundle import Bundle, BundleFile, Precision
from ghostclas.engines.contract import AFTER_FORK, Engine
from ghostclas.engines.file_engine import opened_before_fork
from ghostclas.engines.table import DEFAULT_ENGINE, ENGINES, find_runtime, installed_engines, is_installed
from ghostclas.engines.trials import is_known, try_out
from ghostclas.errors import BundleError, UsageError, did_you_mean

Goal: TypeAlias = Literal["throughput", "startup"]

FLOATS: Sequence[Precision] = ("fp32", "fp16")
"""File precisions that are computed in float32 by default; the first is the most precise."""


_log = logging.getLogger(__name__)


class Choice(NamedTuple):
    """An engine, the file that it opens, and its arithmetic if that is not the file's precision."""

    engine: str
    file: BundleFile
    inference_precision: Precision | None = None
    why: str = "as asked for"


def open_engine(
    name: str,
    bundle: Bundle,
    *,
    threads: int | None = None,
    precision: str | None = None,
    concurrency: int = 1,
    optimize_for: Goal = "throughput",
) -> Engine:
    """Load the bundle into an engine.

    Args:
        name: a key of ``ENGINES``, or ``"auto"``. ``auto`` considers the installed engines whose answers on
            one of the bundle's fp32 or fp16 files were right, as the manifest's ``parity`` says. It takes
            the one that computes in bf16 if the processor is faster in it, else the first of the table.
            Where nothing was compared, it takes the engine of the default file. Of a bundle whose files were
            neither made nor verified on this machine, it takes ONNX Runtime alone, if that reads one.
        bundle: an open bundle.
        threads: how many threads compute at once; ``None`` for what the runtime finds best on the cores that
            this process may use.
        precision: of the file; the bundle's first that fits when absent. ``auto`` takes int8 only when asked.
            Where there is no such file, what the runtime computes in, if it can.
        concurrency: how many threads will call ``run`` at once. A runtime that can shares ``threads`` out
            among them, so that each batch is computed by fewer threads and more of them side by side.
        optimize_for: ``"startup"`` where a few photos take less time than starting: ``auto`` then computes
            in the file's precision, in the engine that starts fastest.

    Raises:
        UsageError: there is no such engine or precision, or ``threads`` is not positive.
        BundleError: the bundle has no file that the engine reads, or it does not verify or load.
        MissingExtraError: the engine's package is not installed.
    """
    _check_precision(precision)
    if optimize_for not in get_args(Goal):
        raise UsageError(f"optimize_for is one of {', '.join(get_args(Goal))}, not {optimize_for!r}")
    wanted = cast("Precision | None", precision)
    choice = (
        _choose_automatically(bundle, wanted, optimize_for)
        if name == "auto"
        else _choose_file(name, bundle, wanted)
    )
    _log.info(
        "engine: %s with %s in %s, %s",
        choice.engine,
        choice.file.entry.path,
        choice.inference_precision or choice.file.entry.precision,
        choice.why,
    )
    return load_file(
        choice.engine,
        choice.file,
        threads=threads,
        inference_precision=choice.inference_precision,
        concurrency=concurrency,
    )


def common_choice(
    bundles: Sequence[Bundle], *, engine: str = "auto", precision: str | None = None
) -> tuple[str, Precision]:
    """Return an engine and a precision for ``open_engine`` in which all bundles can be computed.

    ``auto`` is the engine that it would be for each of them, if that is one; else ONNX Runtime, else the
    first of the table that reads them all. The precision is float32 where all have such files.

    Raises:
        UsageError: there is no such engine or precision, or none fits all of them.
        BundleError: no installed engine reads one of the bundles.
    """
    _check_precision(precision)
    wanted = cast("Sequence[Precision]", [precision] if precision else [*FLOATS, "int8"])
    if engine == "auto":
        own = {_choose_automatically(bundle, None, "throughput").engine for bundle in bundles}
        engines = dict.fromkeys([*(own if len(own) == 1 else ()), DEFAULT_ENGINE, *installed_engines()])
    else:
        engines = {engine: None}
    for name in engines:
        for kind in wanted:
            if all(_computes(name, bundle, kind) for bundle in bundles):
                return name, kind
    files = "\n       ".join(
        f"{bundle.path}: {', '.join(sorted({f'{e.format} {e.precision}' for e in bundle.manifest.files}))}"
        for bundle in bundles
    )
    where = "no installed engine computes" if engine == "auto" else f"{engine} does not compute"
    how = f"in {precision}" if precision else "in one precision"
    raise UsageError(
        f"{where} these models {how}:\n       {files}\n"
        "       export the missing file, or measure each with: ghostclas eval"
    )


def _computes(name: str, bundle: Bundle, precision: Precision) -> bool:
    """Whether the engine has a file of the bundle to compute in this precision, here."""
    runtime = find_runtime(name)
    entries = [e for e in bundle.manifest.files if e.input is not None and e.format in runtime.formats]
    if any(entry.precision == precision for entry in entries):
        return True
    floats = any(entry.precision in FLOATS for entry in entries)
    return floats and is_installed(runtime.package) and supports_precision(name, precision)


def _check_precision(precision: str | None) -> None:
    if precision is not None and precision not in get_args(Precision):
        near = (
            did_you_mean(precision, get_args(Precision)) or f"; there are: {', '.join(get_args(Precision))}"
        )
        raise UsageError(f"there is no precision {precision!r}{near}")


def load_file(
    name: str,
    file: BundleFile,
    *,
    threads: int | None = None,
    inference_precision: Precision | None = None,
    concurrency: int = 1,
) -> Engine:
    """Load this one file of a bundle into the engine ``name``; see ``open_engine``.

    A file that was neither made nor tried on this machine is tried first, in a process of its own; see
    ``ghostclas.engines.trials``.

    Raises:
        BundleError: it does not verify or load, or did not pass its trial.
        UsageError: the runtime or the processor cannot compute in ``inference_precision``, or the runtime was
            used before this process was forked and cannot start again in it.
    """
    for number, what in ((threads, "threads"), (concurrency, "concurrency")):
        if number is not None and number < 1:
            raise UsageError(f"{what} must be at least 1, got {number}")
    runtime = find_runtime(name)
    options: dict[str, Any] = {"concurrency": concurrency} if runtime.concurrent else {}
    if inference_precision is not None:
        if not supports_precision(name, inference_precision):
            raise UsageError(
                f"{name} does not compute in {inference_precision} on this processor; leave it out"
            )
        options["inference_precision"] = inference_precision
    if is_installed(runtime.package) and not is_known(name, file):
        try_out(name, file, inference_precision)
    if runtime.isolated and sys.modules.get("torch") is not None:
        from ghostclas.engines.isolated import IsolatedEngine

        return IsolatedEngine(name, runtime, file, threads=threads, **options)
    if not runtime.restarts_after_fork and opened_before_fork(name):
        raise UsageError(
            f"{name} was used before this process was forked, and cannot start again in it; {AFTER_FORK}"
        )
    return cast(Engine, runtime.load_class()(file, threads=threads, **options))


def supports_precision(name: str, precision: Precision) -> bool:
    """Return whether the installed engine ``name`` computes floating-point files in ``precision`` here."""
    runtime = find_runtime(name)
    return precision in runtime.inference_precisions and bool(runtime.load_class().supports(precision))


def is_faster_in(name: str, precision: Precision) -> bool:
    """Return whether ``name`` computes in ``precision`` here, known to be faster than in float32."""
    return supports_precision(name, precision) and bool(
        find_runtime(name).load_class().is_faster_in(precision)
    )


def inference_precisions(name: str, file: BundleFile) -> list[Precision | None]:
    """Return the precisions in which an engine can compute this file here; ``None`` is the file's own."""
    if file.entry.precision not in FLOATS:
        return [None]
    others = find_runtime(name).inference_precisions
    return [None, *(other for other in others if supports_precision(name, other))]


def _choose_automatically(bundle: Bundle, precision: Precision | None, optimize_for: Goal) -> Choice:
    """Choose the fastest engine that was compared and right, else one that reads the default file."""
    installed = installed_engines()
    runnable = [entry for entry in bundle.manifest.files if entry.input is not None]
    if precision is not None and all(entry.precision != precision for entry in runnable):
        able = [name for name in ENGINES if precision in ENGINES[name].inference_precisions]
        for name in sorted(able, key=lambda name: name not in installed):
            chosen = _choose_file(name, bundle, precision)
            return chosen._replace(why=f"which computes in {precision}; there is no file in it")
    entries = {entry.path: entry for entry in runnable if precision in (None, entry.precision)}
    default = next(iter(entries.values()), None)
    compared = {
        (result.engine, result.file, result.arithmetic): result.ok for result in bundle.manifest.parity
    }
    floats = (precision,) if precision else FLOATS
    files = [
        (name, entry)
        for name in installed
        for known in ENGINES[name].formats
        for entry in entries.values()
        if entry.format == known and entry.precision in floats
        if any(
            right and (engine, path) == (name, entry.path) for (engine, path, _), right in compared.items()
        )
        and (name == DEFAULT_ENGINE or is_known(name, BundleFile(bundle, entry)))
    ]
    first = f"the first of the installed {', '.join(installed)}"
    if precision is None and optimize_for == "throughput":
        for name, entry in files:
            for other in ENGINES[name].inference_precisions:
                if compared.get((name, entry.path, other)) and is_faster_in(name, other):
                    why = f"{first} with right answers in {other}, in which this processor is faster"
                    return Choice(name, BundleFile(bundle, entry), other, why)
    for name, entry in files:
        if compared.get((name, entry.path, None)):
            why = f"{first} with right answers on files that were made or verified here"
            return Choice(name, BundleFile(bundle, entry), None, why)
    for name in installed:
        if default is None or compared.get((name, default.path, None)) is False:
            continue
        if default.format in ENGINES[name].formats:
            why = f"{first} that reads the default file; nothing was compared"
            return Choice(name, BundleFile(bundle, default), None, why)
    formats = sorted({entry.format for entry in entries.values()})
    raise BundleError(
        f"{bundle.path}: no installed engine reads a file of this bundle "
        f"(files: {', '.join(formats) or 'none'}; engines: {', '.join(installed)})"
    )


def _choose_file(name: str, bundle: Bundle, precision: Precision | None) -> Choice:
    """Choose the best file that the engine ``name`` reads in ``precision``."""
    runtime = find_runtime(name)

    def first(wanted: Sequence[Precision]) -> BundleFile | None:
        for kind in wanted:
            for known in runtime.formats:
                for entry in bundle.manifest.files:
                    if entry.input is not None and (entry.format, entry.precision) == (known, kind):
                        return BundleFile(bundle, entry)
        return None

    if file := first(get_args(Precision) if precision is None else (precision,)):
        return Choice(name, file)
    if precision in runtime.inference_precisions and (file := first(FLOATS)):
        return Choice(name, file, precision)
    return Choice(name, bundle.file(runtime.formats[0], precision))
