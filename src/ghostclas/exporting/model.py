"""From whatever ``--model`` means to a bundle with the files that were asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from ghostclas.bundle import Bundle, Precision, copy_bundle, default_bundle_path
from ghostclas.data import Splits, open_splits
from ghostclas.errors import BundleError, ExportError, GhostclasError, UsageError
from ghostclas.exporting.formats import Added, add_formats, added, check_formats
from ghostclas.exporting.quantize import quantize
from ghostclas.extras import require
from ghostclas.files import check_folder
from ghostclas.zoo import locate


def export_model(
    model: str | Path,
    *,
    formats: Sequence[str] = ("onnx",),
    precision: str = "fp32",
    output: str | Path | None = None,
    network: str | None = None,
    classes: str | Path | None = None,
    calibration: str | Path | None = None,
    smaller: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Added]:
    """Write a model as a bundle with these files, and tell of each format what became of it.

    Args:
        model: ``default``, a bundle, a run, a file of weights, or the name of published ones.
        formats: keys of ``export.formats.FORMATS``. With ``output``, ``onnx`` means the file that every
            bundle is made of, in ``precision``.
        precision: of all of them, ``fp32``, ``fp16`` or ``int8``; see ``export.quantize``.
        output: the bundle to write; one there is replaced. When absent the files are added to the bundle, or
            to the bundle of the run, that ``model`` names.
        network: which network a file of weights is for; recognised when absent.
        classes: a text file of class names for a file of weights, one a line.
        calibration: labelled photos, for int8: their training split to calibrate on, their validation split
            to judge on.
        smaller: keep an accurate int8 file that is not faster, too.
        say: called with what was measured on the way to int8.

    Raises:
        UsageError: there is no such model, format or precision; nothing was written.
        BundleError: the model does not verify, or there is something else than a bundle at ``output``.
        ExportError: the bundle itself cannot be made.
        MissingExtraError: torch or onnx is not installed.
    """
    formats = list(dict.fromkeys(formats))
    check_formats(formats, precision)
    if (precision == "int8") != (calibration is not None):
        raise UsageError("int8, and nothing else, needs labelled photos to judge it by: --calibration DIR")
    require("torch", extra="export")
    if calibration is not None:
        source = _changeable(model, network, classes) if output is None else _bundle(model)
        if source is None:
            raise UsageError(f"{model} is no bundle: export it first, then add int8 files to that")
        return _quantized(source, output, formats, open_splits(calibration), smaller, say)
    width = cast(Precision, precision)
    if output is None:
        return add_formats(_changeable(model, network, classes), formats, precision=width)
    return _written(model, formats, width, Path(output), network, classes)


def _quantized(
    source: Bundle,
    output: str | Path | None,
    formats: Sequence[str],
    splits: Splits,
    smaller: bool,
    say: Callable[[str], None],
) -> Iterator[Added]:
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
                    smaller=smaller,
                    say=say,
                )
            except (GhostclasError, OSError) as error:
                known = error if isinstance(error, GhostclasError) else ExportError(f"{name}: {error}")
                yield Added(name, source, error=known)
            else:
                kept = bundle if output is None else copy_bundle(bundle, output)
                yield added(name, kept, "int8")


def _written(
    model: str | Path,
    formats: Sequence[str],
    precision: Precision,
    output: Path,
    network: str | None,
    classes: str | Path | None,
) -> Iterator[Added]:
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
        yield Added("onnx", bundle, tuple(f.path for f in bundle.manifest.files), bundle.manifest.parity)
    yield from add_formats(bundle, [name for name in formats if name != "onnx"], precision=precision)


def _bundle(model: str | Path) -> Bundle | None:
    """Return the bundle that ``model`` names, if it names one."""
    located = locate(model)
    return located.bundle() if located.kind in ("bundle", "run") else None


def _changeable(model: str | Path, network: str | None, classes: str | Path | None) -> Bundle:
    bundle = _bundle(model)
    if bundle is None or network is not None or classes is not None:
        raise UsageError(f"{model} is no bundle to add files to: say where to write one with --output BUNDLE")
    if bundle.path == default_bundle_path():
        raise UsageError("the built-in model is not changed: say where to write with --output BUNDLE")
    if bundle.path.is_file():
        raise BundleError(f"{bundle.path}: an archive is not changed in place; write a folder with --output")
    check_folder(bundle.path, option="--output")
    return bundle
