"""Verification of every file of a bundle, in every runtime here, against the bundle's reference answers.

It starts from the encoded reference images in the bundle, so it needs no data and no torch. It first compares
the pixels of this machine's decoder and ``imaging`` with the stored ones. It then compares logits: those on
the stored pixels decide, and those on the decoded pixels are reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, BundleFile, FileEntry, FileParity, Manifest, Precision, revise_manifest
from ghostclas.bundle.writer import write_errors
from ghostclas.data.source import Source
from ghostclas.engines import ENGINES, Engine, installed_engines
from ghostclas.engines.choice import inference_precisions, load_file
from ghostclas.engines.paddle_files import lite_version
from ghostclas.engines.trials import remember
from ghostclas.errors import BundleError, ExportError, ImageError
from ghostclas.files import write_bytes
from ghostclas.imaging import preprocess
from ghostclas.spec import Frozen

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

PIXEL_TOLERANCE = 2
"""The largest difference, in levels of 256, between two correct JPEG decoders after scaling."""

BATCH_SIZE = 8

PARITY = "parity.json"

LARGE_LOGIT = 16.0
"""Above this value, differences are relative. A barely trained network can give logits of a million, where
neighbouring float32 numbers differ by more than any absolute tolerance."""


class Tolerance(NamedTuple):
    """The largest difference of logits, and the fraction of images whose best class must be the same."""

    max_abs: float
    top1: float


TOLERANCE: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 1.0),
    "fp16": Tolerance(5e-2, 0.995),
    "bf16": Tolerance(5e-1, 0.995),
    "int8": Tolerance(100.0, 0.0),
}
"""Tolerances by the precision of the file, or of the arithmetic if that differs. Accuracy on photos decides
about an int8 file when it is made. Generated images leave the ranges of its calibration, so that here its
logits only have to be finite."""


class VerifyReport(Frozen):
    """The result of ``verify``.

    ``files`` has one entry for each file and engine, against the stored logits. ``photos``, with data, has
    one for each but the first, against the first, on the caller's images; ``bad_photos`` of them could not be
    read. ``skipped`` says which files no engine here can run. ``max_pixel_difference`` is in levels of 256.

    A file is right if its answers in its own precision are. If an engine is wrong in a lower precision, the
    bundle is still right, and ``auto`` does not use that precision.
    """

    bundle: str
    max_pixel_difference: int
    pixel_tolerance: int = PIXEL_TOLERANCE
    files: tuple[FileParity, ...]
    photos: tuple[FileParity, ...] = ()
    bad_photos: int = 0
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all checked files are within their tolerance."""
        results = (*self.files, *self.photos)
        pixels = self.max_pixel_difference <= self.pixel_tolerance
        return pixels and all(result.ok for result in results if result.arithmetic is None)

    def require_ok(self) -> None:
        """Raise ExportError, naming each file that is not within its tolerance."""
        lines = []
        if self.max_pixel_difference > self.pixel_tolerance:
            lines.append(
                f"preprocessing gives other pixels here, by up to {self.max_pixel_difference} of 256 levels "
                f"({self.pixel_tolerance} are allowed): check the versions of ghostclas and Pillow"
            )
        lines += [
            f"{result.file} in {result.through}: logits differ by up to {result.max_abs:.3g} "
            f"({result.tolerance:g} is allowed), best class equal for {result.top1_agreement:.1%} "
            f"of {result.images} {what}"
            for what, results in (("reference images", self.files), ("photos", self.photos))
            for result in results
            if not result.ok and result.arithmetic is None
        ]
        if lines:
            raise ExportError("\n       ".join([f"{self.bundle} does not answer as it should", *lines]))


def verify(
    bundle: Bundle,
    *,
    data: Source | None = None,
    engines: Collection[str] | None = None,
    files: Collection[str] | None = None,
    strict: bool = True,
    made_here: bool = False,
) -> VerifyReport:
    """Check the content of every file, and the answers of every file that an installed engine reads.

    Args:
        bundle: an open bundle.
        data: images of the caller on which to compare the engines with each other.
        engines: which of the installed engines to ask; all of them when absent.
        files: which files to ask them about, by path; all of them when absent.
        strict: raise where something is out of tolerance, instead of only reporting it.
        made_here: this machine has just made the files, which therefore need no trial.

    Raises:
        ExportError: strict, and a file does not answer as it should.
        BundleError: a file does not verify or cannot be loaded.
    """
    bundle.check()
    reference = bundle.reference()
    decoded = np.stack([preprocess(jpeg, bundle.preprocess) for jpeg in reference.jpegs])
    levels = np.abs(decoded.astype(int) - reference.pixels).max()
    chosen = [name for name in installed_engines() if engines is None or name in engines]
    runs = [run for run in _runs(bundle, chosen) if files is None or run.file.entry.path in files]
    results = []
    for run in runs:
        if made_here:
            remember(run.engine, run.file)
        with _opened(run) as engine:
            on_stored, on_decoded = _Tally(), _Tally()
            on_stored.add(engine.run(reference.pixels), reference.logits)
            on_decoded.add(engine.run(decoded), reference.logits)
        results.append(on_stored.parity(run, run.tolerance, decoded_max_abs=on_decoded.max_abs))
    photos, bad = _on_photos(bundle, runs, data) if data is not None else ((), 0)
    report = VerifyReport(
        bundle=str(bundle.path),
        max_pixel_difference=int(levels),
        files=tuple(results),
        photos=photos,
        bad_photos=bad,
        skipped=tuple(_skipped(bundle, {run.file.entry.path for run in runs})),
    )
    if strict:
        report.require_ok()
    return report


def record(bundle: Bundle, report: VerifyReport) -> Bundle:
    """Write the result into the manifest, under ``parity``, and into ``parity.json`` beside it.

    In the manifest it replaces earlier results of the same file in the same engine. From then on ``auto`` may
    choose an engine that passed, and does not choose one that failed on the reference or on the photos.

    Raises:
        BundleError: the bundle is an archive, was changed by hand, or cannot be written.
    """
    asked = {(result.file, result.engine) for result in report.files}
    failed = {(photo.file, photo.engine, photo.arithmetic) for photo in report.photos if not photo.ok}
    found = [
        result.model_copy(
            update={"ok": result.ok and (result.file, result.engine, result.arithmetic) not in failed}
        )
        for result in report.files
    ]

    def revise(manifest: Manifest) -> dict[str, object]:
        kept = [result for result in manifest.parity if (result.file, result.engine) not in asked]
        return {"parity": (*kept, *found)}

    recorded = revise_manifest(bundle, revise)
    # The path of the bundle is private.
    moved = report.model_copy(update={"bundle": bundle.path.name})
    with write_errors(bundle.path / PARITY):
        write_bytes(bundle.path / PARITY, moved.model_dump_json(indent=1).encode() + b"\n")
    return recorded


class _Run(NamedTuple):
    """A file in an engine, computed in ``inference_precision`` or, without it, in the file's precision."""

    engine: str
    file: BundleFile
    inference_precision: Precision | None

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCE[self.inference_precision or self.file.entry.precision]


def _runs(bundle: Bundle, engines: Collection[str]) -> Iterator[_Run]:
    for entry in bundle.manifest.files:
        for name in engines:
            if entry.input is not None and entry.format in ENGINES[name].formats:
                file = BundleFile(bundle, entry)
                for precision in inference_precisions(name, file):
                    yield _Run(name, file, precision)


def _skipped(bundle: Bundle, run: Collection[str]) -> Iterator[str]:
    for entry in bundle.manifest.files:
        if entry.path.endswith(".nb"):
            yield f"{entry.path}: {_lite_version(bundle, entry)} wrote it, and only that version reads it"
        if entry.input is not None and entry.path not in run:
            readers = [name for name, runtime in ENGINES.items() if entry.format in runtime.formats]
            yield f"{entry.path}: needs {' or '.join(readers) or 'a runtime outside this package'}"


def _lite_version(bundle: Bundle, entry: FileEntry) -> str:
    """Return the Paddle Lite that wrote a ``.nb``.

    Raises:
        BundleError: the file is none, or of another version than the manifest says.
    """
    try:
        found = lite_version(bundle.read(entry.path))
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {entry.path} holds {error}; export it again") from None
    said = bundle.manifest.provenance.get("paddlelite")
    target = entry.path.split(".")[-2]
    if isinstance(said, dict) and (kept := str(said.get(target, found)).partition(",")[0]) != found:
        raise BundleError(
            f"{bundle.path}: {entry.path} was written by Paddle Lite {found}, and the manifest says {kept}: "
            "export it again"
        )
    return f"Paddle Lite {found}"


@contextmanager
def _opened(run: _Run) -> Iterator[Engine]:
    engine = load_file(run.engine, run.file, inference_precision=run.inference_precision)
    try:
        yield engine
    finally:
        engine.close()


def logit_differences(logits: Float32, wanted: Float32) -> Float32:
    """Return the absolute differences ``[N, C]``, relative where the wanted logits exceed ``LARGE_LOGIT``.

    The difference to NaN is infinite.
    """
    scale = np.float32(max(1.0, float(np.abs(wanted).max(initial=0)) / LARGE_LOGIT))
    with np.errstate(invalid="ignore"):
        differences: Float32 = np.abs(logits - wanted) / scale
    return np.nan_to_num(differences, nan=np.inf, posinf=np.inf)


@dataclass
class _Tally:
    """Differences between two sets of logits, added up batch by batch."""

    images: int = 0
    values: int = 0
    equal: int = 0
    total: float = 0.0
    max_abs: float = 0.0

    def add(self, logits: Float32, wanted: Float32) -> None:
        differences = logit_differences(logits, wanted)
        self.images += len(logits)
        self.values += differences.size
        self.equal += int((logits.argmax(axis=1) == wanted.argmax(axis=1)).sum())
        self.total += float(differences.sum(dtype=np.float64))
        self.max_abs = max(self.max_abs, float(differences.max(initial=0)))

    def parity(self, run: _Run, tolerance: Tolerance, *, decoded_max_abs: float | None = None) -> FileParity:
        top1 = self.equal / max(self.images, 1)
        return FileParity(
            file=run.file.entry.path,
            engine=run.engine,
            arithmetic=run.inference_precision,
            images=self.images,
            max_abs=_finite(self.max_abs),
            mean_abs=_finite(self.total / max(self.values, 1)),
            top1_agreement=top1,
            decoded_max_abs=None if decoded_max_abs is None else _finite(decoded_max_abs),
            tolerance=tolerance.max_abs,
            ok=self.images > 0 and self.max_abs <= tolerance.max_abs and top1 >= tolerance.top1,
        )


def _finite(difference: float) -> float:
    """Return the difference, or the largest float32 for an infinite one, which JSON cannot hold."""
    return min(difference, float(np.finfo(np.float32).max))


def _on_photos(bundle: Bundle, runs: Sequence[_Run], data: Source) -> tuple[tuple[FileParity, ...], int]:
    """Compare every file and engine with the first, a batch at a time; return also how many were unreadable.

    Each of two answers may differ from the reference by its tolerance, so they may differ by the sum of both.
    """
    if len(runs) < 2:
        return (), 0
    bad = 0
    batch: list[UInt8] = []
    tallies = [_Tally() for _ in runs[1:]]
    with ExitStack() as stack:
        engines = [stack.enter_context(_opened(run)) for run in runs]

        def compare() -> None:
            first, *others = (engine.run(np.stack(batch)) for engine in engines)
            for tally, logits in zip(tallies, others, strict=True):
                tally.add(logits, first)
            batch.clear()

        for index in range(len(data.samples)):
            try:
                batch.append(preprocess(data.read(index), bundle.preprocess))
            except ImageError:
                bad += 1
            if len(batch) == BATCH_SIZE:
                compare()
        if batch:
            compare()
    of_first = runs[0].tolerance
    results = []
    for run, tally in zip(runs[1:], tallies, strict=True):
        own = run.tolerance
        apart = Tolerance(own.max_abs + of_first.max_abs, min(own.top1, of_first.top1))
        results.append(tally.parity(run, apart))
    return tuple(results), bad
