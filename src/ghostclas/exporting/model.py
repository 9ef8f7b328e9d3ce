"""From whatever ``--model`` means to a bundle with the files that were asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ghostclas.bundle import Bundle, Precision, copy_bundle, default_bundle_path
from ghostclas.data import Splits, open_splits
from ghostclas.errors import BundleError, ExportError, GhostclasError, UsageError
from ghostclas.exporting.additions import FormatResult, add_formats, failure, success
from ghostclas.exporting.formats import check_formats
from ghostclas.exporting.quantize import Policy, quantize
from ghostclas.extras import require
from ghostclas.files import check_folder
from ghostclas.zoo import locate


@dataclass(frozen=True)
class ExportResult:
    """The bundle as it is now, and what became of each format that was asked for."""

    bundle: Bundle
    formats: tuple[FormatResult, ...]


def export(
    model: str | os.PathLike[str],
    *,
    formats: Sequence[str] = ("onnx",),
    precision: str = "fp32",
    output: str | os.PathLike[str] | None = None,
    network: str | None = None,
    classes: str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    smaller: bool = False,
    on_result: Callable[[FormatResult], object] = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
) -> ExportResult:
    """Write a model as a bundle with files for these formats.

    Args:
        model: ``default``, a bundle, a run, a file of weights, or the name of published ones.
        formats: keys of ``exporting.formats.FORMATS``. With ``output``, ``onnx`` means the file that every
            bundle is made of, in ``precision``.
        precision: of all of them, ``fp32``, ``fp16`` or ``int8``; see ``exporting.quantize``.
        output: the bundle to write; one there is replaced. When absent the files are added to the bundle, or
            to the bundle of the run, that ``model`` names.
        network: which network a file of weights is for; recognised when absent.
        classes: a text file of class names for a file of weights, one a line.
        calibration: labelled photos, for int8: their training split to calibrate on, their validation split
            to judge on.
        smaller: keep an accurate int8 file that is not faster, too.
        on_result: called with what became of a format, as soon as that is known.
        say: called with what was measured on the way to int8.

    Raises:
        UsageError: there is no such model, format or precision; nothing was written.
        BundleError: the model does not verify, or there is something else than a bundle at ``output``.
        ExportError: the bundle itself cannot be made, or formats could not be added; the message names them,
            and all others were added.
        MissingExtraError: torch or onnx is not installed.
    """
    formats = list(dict.fromkeys(formats))
    if not formats:
        raise UsageError("name at least one format")
    results = []
    for result in _results(model, formats, precision, output, network, classes, calibration, smaller, say):
        results.append(result)
        on_result(result)
    failed = [result for result in results if result.error is not None]
    if len(results) == 1 and failed and failed[0].error is not None:
        raise failed[0].error
    bundle = results[-1].bundle
    if failed:
        raise ExportError(
            f"{len(failed)} of {len(results)} formats were not added to {bundle.path}:"
            + "".join(f"\n       {result.error}" for result in failed)
        )
    return ExportResult(bundle, tuple(results))


def _results(
    model: str | os.PathLike[str],
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None,
    network: str | None,
    classes: str | os.PathLike[str] | None,
    calibration: str | os.PathLike[str] | None,
    smaller: bool,
    say: Callable[[str], object],
) -> Iterator[FormatResult]:
    check_formats(formats, precision)
    if (precision == "int8") != (calibration is not None):
        raise UsageError("int8, and nothing else, needs labelled photos to judge it by: --calibration DIR")
    require("torch", extra="export")
    names = (os.fspath(model), network, None if classes is None else Path(classes))
    if calibration is not None:
        source = _changeable(*names) if output is None else _bundle(names[0])
        if source is None:
            raise UsageError(f"{model} is no bundle: export it first, then add int8 files to that")
        yield from _quantized(source, output, formats, open_splits(calibration), smaller, say)
        return
    kind = cast(Precision, precision)
    if output is None:
        yield from add_formats(_changeable(*names), formats, precision=kind)
    else:
        yield from _written(*names, formats, kind, Path(output))


def _quantized(
    source: Bundle,
    output: str | os.PathLike[str] | None,
    formats: Sequence[str],
    splits: Splits,
    smaller: bool,
    say: Callable[[str], object],
) -> Iterator[FormatResult]:
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as scratch:
        # What is rejected leaves no trace at the output either.
        bundle = source if output is None else copy_bundle(source, Path(scratch) / "bundle")
        for name in formats:
            try:
                bundle, _ = quantize(
                    bundle,
                    name,
                    calibration=splits.train,
                    validation=splits.val,
                    policy=Policy(smaller=smaller),
                    say=say,
                )
            except (GhostclasError, OSError) as error:
                yield failure(name, source, error)
            else:
                kept = bundle if output is None else copy_bundle(bundle, output)
                yield success(name, kept, "int8")


def _written(
    model: str,
    network: str | None,
    classes: Path | None,
    formats: Sequence[str],
    precision: Precision,
    output: Path,
) -> Iterator[FormatResult]:
    from ghostclas.exporting.onnx import export_bundle
    from ghostclas.exporting.sources import open_trained

    source = _bundle(model)
    if source is not None and "onnx" not in formats:
        yield from add_formats(copy_bundle(source, output), formats, precision=precision)
        return
    trained = open_trained(model, network=network, classes=classes)
    bundle = export_bundle(
        trained.model,
        trained.spec,
        trained.classes,
        trained.preprocess,
        output,
        precision=precision if "onnx" in formats else "fp32",
        postprocess=trained.postprocess,
        metrics=trained.metrics,
        provenance=trained.provenance,
    )
    if "onnx" in formats:
        paths = tuple(entry.path for entry in bundle.manifest.files)
        yield FormatResult("onnx", bundle, paths, bundle.manifest.parity)
    yield from add_formats(bundle, [name for name in formats if name != "onnx"], precision=precision)


def _bundle(model: str) -> Bundle | None:
    """Return the bundle that ``model`` names, if it names one."""
    located = locate(model)
    return located.bundle() if located.kind in ("bundle", "run") else None


def _changeable(model: str, network: str | None, classes: Path | None) -> Bundle:
    bundle = _bundle(model)
    if bundle is None or network is not None or classes is not None:
        raise UsageError(f"{model} is no bundle to add files to: say where to write one with --output BUNDLE")
    if bundle.path == default_bundle_path():
        raise UsageError("the built-in model is not changed: say where to write with --output BUNDLE")
    if bundle.path.is_file():
        raise BundleError(f"{bundle.path}: an archive is not changed in place; write a folder with --output")
    check_folder(bundle.path, option="--output")
    return bundle
