"""Adding a format to a bundle: it is converted, compared, then kept.

Every conversion starts from the bundle's own weights and runs in a process of its own. Every installed engine
that reads the result is compared with the bundle's reference before the bundle changes. After a failure the
bundle is as it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from ghostclas.bundle import (
    WEIGHTS,
    Bundle,
    FileContent,
    FileParity,
    Precision,
    add_files,
    copy_bundle,
)
from ghostclas.errors import BundleError, ExportError, GhostclasError, MissingExtraError, UsageError
from ghostclas.exporting.conversion import Quantization, Step, Written, silent
from ghostclas.exporting.formats import FORMATS, check_formats
from ghostclas.verification import verify

_LOOK_SECONDS = 0.3
"""How often the step of a running conversion is looked up."""


class FormatResult(NamedTuple):
    """The result for one format: the bundle with it, or the error that left the bundle as it was.

    ``compared`` is empty if no engine here runs the format, such as Core ML on a system other than macOS.
    """

    format: str
    bundle: Bundle
    files: tuple[str, ...] = ()
    compared: tuple[FileParity, ...] = ()
    error: GhostclasError | None = None


def add_formats(
    bundle: Bundle,
    formats: Sequence[str],
    *,
    precision: Precision = "fp32",
    options: Mapping[str, str] | None = None,
    step: Step = silent,
) -> Iterator[FormatResult]:
    """Add one format after the other to the bundle, and yield each result.

    Args:
        bundle: an open bundle in a folder.
        formats: keys of ``FORMATS``.
        precision: the precision of all formats.
        options: what is asked for besides; each format takes those in its row.
        step: called with each next step of a conversion.

    Raises:
        UsageError: a format or a precision does not exist; nothing was done.
    """
    check_formats(formats, precision, options)
    for name in formats:
        try:
            bundle = add_format(bundle, name, precision=precision, options=options, step=step)
        except (GhostclasError, OSError) as error:
            yield failure(name, bundle, error)
        else:
            yield success(name, bundle, precision)


def success(name: str, bundle: Bundle, precision: Precision) -> FormatResult:
    """Return the result for a format that the bundle has."""
    made = [f.path for f in bundle.manifest.files if (f.format, f.precision) == (name, precision)]
    compared = [result for result in bundle.manifest.parity if result.file in made]
    return FormatResult(name, bundle, tuple(made), tuple(compared))


def failure(name: str, bundle: Bundle, error: GhostclasError | OSError) -> FormatResult:
    """Return the result for a format that was not added to the bundle."""
    known = error if isinstance(error, GhostclasError) else ExportError(f"{name}: {error}")
    return FormatResult(name, bundle, error=known)


def add_format(
    bundle: Bundle,
    name: str,
    *,
    precision: Precision = "fp32",
    quantization: Quantization | None = None,
    options: Mapping[str, str] | None = None,
    step: Step = silent,
) -> Bundle:
    """Convert the bundle's network, compare it with the reference, add it, and return the reopened bundle.

    ``int8``, and only it, needs ``quantization``; ``exporting.quantize`` chooses it by measurement.

    Raises:
        UsageError: there is no such format or precision, or the bundle was made with that file.
        MissingExtraError: the toolchain is not installed.
        ExportError: a step of the conversion failed, or its result answers differently; the message names it.
        BundleError: the bundle is an archive or does not verify.
    """
    check_formats([name], precision)
    if (quantization is not None) != (precision == "int8"):
        raise UsageError("int8 files, and only they, are made with photos to calibrate on")
    if bundle.path.is_file():
        raise BundleError(f"{bundle.path}: an archive is not changed in place; unpack it and give the folder")
    check_weights(bundle, name)
    default = bundle.file().entry
    if (default.format, default.precision) == (name, precision):
        raise UsageError(f"{bundle.path} was made with {default.path}: it is there already")
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as scratch:
        folder = Path(scratch)
        written = _convert(bundle, name, precision, quantization, options or {}, folder, step)
        step(f"{name}: comparing it with the reference")
        files = {
            entry.path: FileContent(
                folder / "files" / entry.path, name, precision, entry.input, entry.output, entry.features
            )
            for entry in written
        }
        facts: dict[str, JsonValue] = {}
        for entry in written:
            facts |= entry.facts
        provenance: dict[str, JsonValue] = {name: facts} if facts else {}
        try:
            trial = add_files(copy_bundle(bundle, folder / "bundle"), files, provenance=provenance)
            report = verify(trial, files=[entry.path for entry in written], strict=False, made_here=True)
        except BundleError as error:
            raise ExportError(f"{name}: the converted file cannot be used: {error}") from None
        try:
            report.require_ok()
        except ExportError as error:
            raise ExportError(f"{name}: nothing was added: {error}") from None
        return add_files(bundle, files, parity=report.files, provenance=provenance)


def check_weights(bundle: Bundle, name: str) -> None:
    """Raise UsageError for a format that needs the network of a bundle that has none."""
    if FORMATS[name].isolated or any(entry.path == WEIGHTS for entry in bundle.manifest.files):
        return
    able = ", ".join(other for other, row in FORMATS.items() if row.isolated)
    raise UsageError(
        f"{bundle.path} has no weights, since it was imported: {name} cannot be made of it; "
        f"these are made of its ONNX file: {able}"
    )


def _convert(
    bundle: Bundle,
    name: str,
    precision: Precision,
    quantization: Quantization | None,
    options: Mapping[str, str],
    folder: Path,
    step: Step,
) -> list[Written]:
    (folder / "files").mkdir()
    job = {
        "converter": FORMATS[name].converter,
        "isolated": FORMATS[name].isolated,
        "bundle": str(bundle.path.resolve()),
        "precision": precision,
        "quantization": quantization.model_dump(mode="json") if quantization else None,
        "options": {key: value for key, value in options.items() if key in FORMATS[name].options},
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    code, errors = _run_worker(folder, lambda text: step(f"{name}: {text}"))
    outcome_file = folder / "outcome.json"
    last = _step_of(folder)
    if not outcome_file.is_file():
        said = [line for line in errors.splitlines() if line.strip()]
        raise ExportError(
            f"{name}: {last} ended the converter's process (exit code {code})"
            + (f": {said[-1].strip()[:200]}" if said else "")
        )
    outcome = json.loads(outcome_file.read_text(encoding="utf-8"))
    if "missing" in outcome:
        raise MissingExtraError(outcome["missing"])
    if "error" in outcome:
        raise ExportError(f"{name}: {last} failed: {outcome['error'][:300]}")
    return [Written.model_validate(entry) for entry in outcome["written"]]


def _run_worker(folder: Path, step: Step) -> tuple[int, str]:
    """Carry out ``job.json`` in a process of its own; return its exit code and what it wrote to stderr."""
    command = [sys.executable, "-P", "-m", "ghostclas.exporting.worker", str(folder / "job.json")]
    with subprocess.Popen(  # noqa: S603 - our own worker
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            while True:
                step(_step_of(folder))
                try:
                    _, errors = process.communicate(timeout=_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
                return process.returncode, errors
        except BaseException:
            process.kill()
            raise


def _step_of(folder: Path) -> str:
    try:
        # The worker may be replacing the text right now.
        return (folder / "step").read_text(encoding="utf-8") or "starting"
    except OSError:
        return "starting"
