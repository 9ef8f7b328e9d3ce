"""The public verb ``export``: it opens a model and writes a bundle with files in the requested formats."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from ghostclas.bundle import WEIGHTS, Bundle, Precision, check_target, copy_bundle, default_bundle_path
from ghostclas.data import Splits, open_splits
from ghostclas.errors import BundleError, ExportError, GhostclasError, UsageError
from ghostclas.exporting.additions import FormatResult, add_formats, failure, success
from ghostclas.exporting.conversion import Step, silent
from ghostclas.exporting.formats import FORMATS, check_formats, named_formats
from ghostclas.exporting.quantize import Policy, quantize
from ghostclas.extras import require
from ghostclas.files import check_folder
from ghostclas.zoo import locate


def export(
    model: str | os.PathLike[str],
    formats: str | Sequence[str] = "onnx",
    *,
    precision: str = "fp32",
    output: str | os.PathLike[str] | None = None,
    network: str | None = None,
    classes: str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    smaller: bool = False,
    options: Mapping[str, str] | None = None,
    say: Callable[[str], object] = lambda _: None,
    step: Step = silent,
    on_result: Callable[[FormatResult], object] = lambda _: None,
) -> Bundle:
    """Write a model as a bundle, or add files for other runtimes to its bundle, and return the bundle.

    Args:
        model: a bundle, a run, a file of weights, a zoo name with published weights, ``timm:NAME``, or
            ``default``.
        formats: one or several of ``exporting.formats.FORMATS``, or a string with commas. With ``output``,
            ``onnx`` means the file that every bundle is made of, in ``precision``.
        precision: the precision of the stored weights in all formats: ``fp32``, ``fp16`` or ``int8``; see
            ``exporting.quantize``.
        output: the bundle to write; it replaces an existing one. When absent, the files are added to the
            bundle of ``model``.
        network: the network of a file of weights, by name; recognised when absent.
        classes: a text file of class names for a file of weights, one a line.
        calibration: labelled photos for int8; their training split calibrates, their validation split
            measures the loss of accuracy.
        smaller: keep an accurate int8 file even if it is not faster.
        options: what is asked for besides, such as ``{"softmax": "yes"}``; see ``Format.options``.
        say: called with each measurement during quantization.
        step: called with what is being done now, for a line of progress.
        on_result: called with the result of each format as soon as it is known.

    Raises:
        UsageError: there is no such model, format or precision; nothing was written.
        BundleError: the model does not verify, or ``output`` holds something other than a bundle.
        ExportError: the bundle cannot be made, or formats could not be added. The message names them; all
            others were added.
        MissingExtraError: torch, onnx or a converter is not installed.
    """
    if output is not None:
        check_target(output)
    names = named_formats(formats) if isinstance(formats, str) else list(dict.fromkeys(formats))
    if not names:
        raise UsageError("name at least one format")
    results = []
    for result in _results(
        model, names, precision, output, network, classes, calibration, smaller, options, say, step
    ):
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
    return bundle


def _results(
    model: str | os.PathLike[str],
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None,
    network: str | None,
    classes: str | os.PathLike[str] | None,
    calibration: str | os.PathLike[str] | None,
    smaller: bool,
    options: Mapping[str, str] | None,
    say: Callable[[str], object],
    step: Step,
) -> Iterator[FormatResult]:
    check_formats(formats, precision, options)
    if (precision == "int8") != (calibration is not None):
        raise UsageError("int8, and nothing else, needs labelled photos that measure it: --calibration DIR")
    if output is not None or not all(FORMATS[name].isolated for name in formats):
        require("torch", extra="export")
    names = (os.fspath(model), network, None if classes is None else Path(classes))
    if calibration is not None:
        source = _changeable(*names) if output is None else _bundle(names[0])
        if source is None:
            raise UsageError(f"{model} is no bundle: export it first, then add int8 files to that")
        yield from _quantized(source, output, formats, open_splits(calibration), smaller, say, step)
        return
    kind = cast(Precision, precision)
    if output is None:
        yield from add_formats(_changeable(*names), formats, precision=kind, options=options, step=step)
    else:
        yield from _written(*names, formats, kind, Path(output), options, step)


def _quantized(
    source: Bundle,
    output: str | os.PathLike[str] | None,
    formats: Sequence[str],
    splits: Splits,
    smaller: bool,
    say: Callable[[str], object],
    step: Step,
) -> Iterator[FormatResult]:
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as scratch:
        # A rejected file leaves no trace at the output either.
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
                    step=step,
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
    options: Mapping[str, str] | None,
    step: Step,
) -> Iterator[FormatResult]:
    from ghostclas.exporting.onnx import export_bundle
    from ghostclas.exporting.sources import open_trained

    source = _bundle(model)
    if source is not None and "onnx" not in formats:
        copied = copy_bundle(source, output)
        yield from add_formats(copied, formats, precision=precision, options=options, step=step)
        return
    if source is not None and all(entry.path != WEIGHTS for entry in source.manifest.files):
        raise UsageError(f"{source.path} has no weights, since it was imported: leave out the format onnx")
    step("onnx: loading the network")
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
        step=lambda text: step(f"onnx: {text}"),
    )
    if "onnx" in formats:
        paths = tuple(entry.path for entry in bundle.manifest.files)
        yield FormatResult("onnx", bundle, paths, bundle.manifest.parity)
    others = [name for name in formats if name != "onnx"]
    yield from add_formats(bundle, others, precision=precision, options=options, step=step)


def _bundle(model: str) -> Bundle | None:
    """Return the bundle of ``model``, if it is a bundle or a run."""
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
