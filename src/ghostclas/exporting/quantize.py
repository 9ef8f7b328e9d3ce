"""Quantization to int8 by measurement: a file is kept only if it is accurate enough and faster.

Post-training quantization of GhostNet may cost no accuracy or most of it. It may also be slower than
float32, since depthwise convolutions and changes of precision cost time. The candidates therefore keep more
and more of the sensitive layers in float. The first accurate one is timed against the float file in the same
engine, interleaved, and a slower one is discarded.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, BundleFile, FileContent, add_files, copy_bundle, record_metric
from ghostclas.data import Source, align_source
from ghostclas.engines import ENGINES, installed_engines, open_engine
from ghostclas.engines.choice import load_file
from ghostclas.errors import DataError, ExportError, ImageError, UsageError
from ghostclas.evaluation import dataset_name
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.conversion import Quantization, Step, silent
from ghostclas.exporting.formats import check_formats
from ghostclas.imaging import preprocess
from ghostclas.spec import Metric
from ghostclas.timing import seconds

UInt8 = NDArray[np.uint8]

BATCH_SIZE = 8
ROUNDS = 60
CALLS = 3


class Candidate(NamedTuple):
    """One way to quantize: scales for each channel or each matrix, and the layers kept in float."""

    per_channel: bool
    keep_float: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a description."""
        scales = "a scale for each channel" if self.per_channel else "a scale for each matrix"
        return f"{scales}, {', '.join(part.strip('.') for part in self.keep_float) or 'nothing'} in float"


CANDIDATES: Sequence[Candidate] = (
    Candidate(False),
    Candidate(True),
    Candidate(True, (".classifier.",)),
    Candidate(True, (".classifier.", ".se.")),
    Candidate(True, (".classifier.", ".se.", ".stem.", ".head.", ".tail.")),
)
"""From the fastest to the most careful; the first accurate one is taken."""


@dataclass(frozen=True)
class Policy:
    """The candidates, and the accuracy that an int8 file may cost.

    A few photos drive a network to a hundred times its usual activations. Ranges that include them leave only
    a few steps for all other photos, so ``outliers`` are left out.
    """

    max_loss: float = 0.5  # points of top-1 by which an int8 file may fall below the float file
    candidates: Sequence[Candidate] = CANDIDATES
    calibration_images: int = 256
    outliers: float = 0.02  # the fraction of the calibration photos, those with the largest logits
    smaller: bool = False  # keep an accurate file that is not faster, because it is smaller

    def is_accurate(self, top1_int8: float, top1_float: float) -> bool:
        """Whether an int8 file with this top-1 in percent may replace the float file."""
        return top1_int8 >= top1_float - self.max_loss

    def keeps(self, measured: Sequence[Measurement]) -> bool:
        """Whether to keep a file that is accurate in these engines: it is faster in one, or need not be."""
        return self.smaller or any(one.ms_int8 < one.ms_float for one in measured)


class Measurement(NamedTuple):
    """A float file and its int8 counterpart in one engine: top-1 in percent, milliseconds for one photo."""

    engine: str
    top1_float: float
    top1_int8: float
    ms_float: float
    ms_int8: float

    def __str__(self) -> str:
        """Return a description."""
        return (
            f"in {self.engine} top-1 {self.top1_int8:.2f} % against {self.top1_float:.2f} % in float, "
            f"{self.ms_int8:.2f} ms a photo against {self.ms_float:.2f} ms "
            f"({self.ms_float / self.ms_int8:.2f} times as fast)"
        )


def quantize(
    bundle: Bundle,
    name: str,
    *,
    calibration: Source,
    validation: Source,
    policy: Policy = Policy(),
    say: Callable[[str], object] = lambda _: None,
    step: Step = silent,
) -> tuple[Bundle, list[Measurement]]:
    """Add an int8 file to the bundle if it is accurate and faster; return the bundle and the measurements.

    Args:
        bundle: an open bundle in a folder.
        name: a format of ``FORMATS`` with int8.
        calibration: photos like those of deployment; up to ``policy.calibration_images`` of them, evenly
            spread and without the outliers, are used.
        validation: labelled photos, on which top-1 may fall by at most ``policy.max_loss`` points.
        policy: the candidates and the limits.
        say: called with a line for every candidate.
        step: called with what is being done now.

    Raises:
        ExportError: no candidate is accurate enough, or the first accurate one is not faster; the message has
            the figures. The bundle is as it was.
        DataError: no photo could be read, or the validation classes are not the model's.
        UsageError: this format has no int8.
    """
    check_formats([name], "int8")
    engines = [engine for engine in installed_engines() if name in ENGINES[engine].formats]
    if not engines:
        raise UsageError(f"no installed engine reads {name}, so int8 cannot be judged here")
    labelled = align_source(validation, bundle.classes)
    count = len(calibration.samples)
    spread = np.linspace(0, count - 1, min(count, policy.calibration_images)).astype(int).tolist()
    tried: list[str] = []
    accuracy_lost = False
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        step(f"int8 {name}: reading the photos to calibrate on")
        read, _ = _read(bundle, calibration, spread, Path(folder) / "read.npy")
        usual = without_outliers(bundle, read, policy.outliers)
        np.save(Path(folder) / "photos.npy", usual)
        step(f"int8 {name}: reading {len(labelled.samples):,} photos to judge by")
        photos, indices = _read(bundle, labelled, range(len(labelled.samples)), Path(folder) / "labelled.npy")
        labels = np.array([labelled.samples[index].label for index in indices])
        step(f"int8 {name}: measuring the float file")
        floats = _float_files(bundle, name, engines, Path(folder) / "float")
        top1_float = {engine: measure_top1(engine, file, photos, labels) for engine, file in floats.items()}
        for number, candidate in enumerate(policy.candidates, 1):
            now = f"int8 {name}, candidate {number} of {len(policy.candidates)}"
            trial = copy_bundle(bundle, Path(folder) / "trial")
            how = Quantization(calibration=Path(folder) / "photos.npy", **candidate._asdict())
            try:
                trial = add_format(
                    trial,
                    name,
                    precision="int8",
                    quantization=how,
                    step=lambda text, now=now: step(f"{now}, {text}"),  # type: ignore[misc]
                )
            except ExportError as error:
                tried.append(f"{candidate}: {error}")
                say(f"int8 {name} with {tried[-1]}")
                continue
            file = trial.file(name, "int8")
            step(f"{now}: measuring its accuracy")
            top1 = {engine: measure_top1(engine, file, photos, labels) for engine in engines}
            engine = max(engines, key=lambda e: top1[e] - top1_float[e])
            tried.append(
                f"{candidate}: top-1 {top1[engine]:.2f} % against {top1_float[engine]:.2f} % in float"
            )
            say(f"int8 {name} with {tried[-1]}")
            accuracy_lost = True
            accurate = [e for e in engines if policy.is_accurate(top1[e], top1_float[e])]
            if not accurate:
                continue
            step(f"{now}: timing it beside the float file")
            found = [
                Measurement(e, top1_float[e], top1[e], *milliseconds(e, floats[e], file, photos))
                for e in accurate
            ]
            for measured in found:
                say(f"int8 {name} {measured}")
            for warning in worse_elsewhere(accurate, top1, top1_float):
                say(f"int8 {name} {warning}")
            if not policy.keeps(found):
                figures = "; ".join(map(str, found))
                raise ExportError(f"int8 is slower here than float: nothing was added. {name} {figures}")
            kept = _keep(bundle, trial, name)
            dataset = dataset_name(validation.location, validation)
            for measured in found:
                through = f"{measured.engine} int8"
                metric = Metric(dataset=dataset, images=len(labels), top1=measured.top1_int8, through=through)
                kept = record_metric(kept, metric)
            return kept, found
    why = (
        f"int8 costs more than {policy.max_loss} points of top-1"
        if accuracy_lost
        else "int8 could not be made"
    )
    raise ExportError("\n       ".join([f"{why}: nothing was added to {bundle.path}", *tried]))


def worse_elsewhere(
    accurate: Sequence[str], top1_int8: Mapping[str, float], top1_float: Mapping[str, float]
) -> list[str]:
    """Return a line for each engine in which a file that is accurate in others costs too much.

    Args:
        accurate: engines in which it is accurate.
        top1_int8: top-1 in percent by engine.
        top1_float: that of the float file.
    """
    return [
        f"is not for {engine}, where its top-1 is {top1:.2f} % against {top1_float[engine]:.2f} % in float: "
        f"use it with --engine {accurate[0]}"
        for engine, top1 in top1_int8.items()
        if engine not in accurate
    ]


def _keep(bundle: Bundle, trial: Bundle, name: str) -> Bundle:
    made = [e for e in trial.manifest.files if (e.format, e.precision) == (name, "int8")]
    files = {
        e.path: FileContent(trial.read(e.path), name, "int8", e.input, e.output, e.features) for e in made
    }
    return add_files(bundle, files, parity=[r for r in trial.manifest.parity if r.file in files])


def _read(bundle: Bundle, source: Source, indices: Sequence[int], target: Path) -> tuple[UInt8, list[int]]:
    """Write the readable photos to ``target`` as network input; return them and their indices."""
    side = bundle.preprocess.crop
    read: list[int] = []
    # On disk: a validation set of 50,000 photos would take eight gigabytes of memory.
    photos = np.lib.format.open_memmap(target, "w+", np.uint8, (len(indices), side, side, 3))
    for index in indices:
        try:
            photos[len(read)] = preprocess(source.read(index), bundle.preprocess)
        except ImageError:
            continue
        read.append(index)
    if not read:
        raise DataError(f"{source.location}: none of its {len(indices)} photos can be read")
    if len(read) < len(photos):
        np.save(target, photos[: len(read)].copy())
        return np.load(target, mmap_mode="r"), read
    photos.flush()
    return photos, read


def without_outliers(bundle: Bundle, photos: UInt8, fraction: float) -> UInt8:
    """Leave out this fraction of the photos, uint8 ``[N, H, W, 3]``: those with the largest logits."""
    with closing(open_engine("auto", bundle)) as engine:
        starts = range(0, len(photos), BATCH_SIZE)
        largest = np.concatenate([np.abs(engine.run(photos[i : i + BATCH_SIZE])).max(axis=1) for i in starts])
    kept = np.argsort(largest, kind="stable")[: len(photos) - int(fraction * len(photos))]
    return photos[np.sort(kept)]


def _float_files(bundle: Bundle, name: str, engines: Sequence[str], folder: Path) -> dict[str, BundleFile]:
    """Return the float file to compare with in each engine; a missing one is converted."""
    found = {engine: _float_file(bundle, engine) for engine in engines}
    if None in found.values():
        converted = add_format(copy_bundle(bundle, folder), name)
        found = {engine: file or _float_file(converted, engine) for engine, file in found.items()}
    return {engine: file for engine, file in found.items() if file is not None}


def _float_file(bundle: Bundle, engine: str) -> BundleFile | None:
    for known in ENGINES[engine].formats:
        for entry in bundle.manifest.files:
            if entry.input is not None and entry.format == known and entry.precision in ("fp32", "fp16"):
                return BundleFile(bundle, entry)
    return None


def measure_top1(name: str, file: BundleFile, photos: UInt8, labels: NDArray[np.int64]) -> float:
    """Return the accuracy in percent of a file in the engine ``name`` on uint8 ``[N, H, W, 3]``."""
    with closing(load_file(name, file)) as engine:
        starts = range(0, len(photos), BATCH_SIZE)
        best = [engine.run(photos[i : i + BATCH_SIZE]).argmax(axis=1) for i in starts]
    return 100 * float((np.concatenate(best) == labels).mean())


def milliseconds(name: str, first: BundleFile, second: BundleFile, photos: UInt8) -> tuple[float, float]:
    """Return the median time of one photo in one thread for both files, interleaved.

    A turn is one uncounted call, since the other file has used the caches, and ``CALLS`` counted ones.
    """
    times: tuple[list[float], list[float]] = ([], [])
    with ExitStack() as stack:
        engines = [stack.enter_context(closing(load_file(name, file, threads=1))) for file in (first, second)]
        for number in range(ROUNDS):
            photo = photos[number % len(photos)][None]
            for engine, found in zip(engines, times, strict=True):
                engine.run(photo)
                found.extend(seconds(partial(engine.run, photo)) for _ in range(CALLS))
    slow, fast = (1000 * statistics.median(found[ROUNDS // 10 * CALLS :]) for found in times)
    return slow, fast
