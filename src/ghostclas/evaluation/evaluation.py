"""Evaluation of a classifier on labelled images, through the path that predictions take."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ghostclas.bundle import Bundle, Manifest, revise_manifest
from ghostclas.data import Source, align_source, open_source, source_notes
from ghostclas.errors import BundleError, DataError, ImageError
from ghostclas.evaluation.calibration import TEMPERATURES, Calibration, TemperatureFit, scores
from ghostclas.evaluation.metrics import ClassMetrics, Ints, Logits, best_class, wilson_interval
from ghostclas.evaluation.summary import Summary, summarize
from ghostclas.evaluation.unseen import unseen_part
from ghostclas.imaging import softmax
from ghostclas.progress import Progress
from ghostclas.spec import Metric, PredictionError, label_hash
from ghostclas.zoo import locate

if TYPE_CHECKING:
    from ghostclas.prediction import Classifier


VALUES_IN_MEMORY = 100_000_000
"""The number of logits that are kept in memory, 400 MB; more go to a temporary file."""


@dataclass(frozen=True)
class BadImage:
    """An image without an answer. ``key`` names it in its source; ``code`` is stable."""

    key: str
    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Evaluation(Summary):
    """The result of :func:`evaluate`, with the logits that it was computed from.

    :class:`Summary` has the figures of the ``images`` that could be read; the others are ``bad``.
    """

    model: str
    """name of the bundle"""
    through: str
    """the runtime and its version"""
    source: Source
    """the images, with the model's class indices"""
    indices: Ints
    """indices of the evaluated images in the source, int64 ``[N]``, ascending"""
    labels: Ints
    """their true classes, int64 ``[N]``"""
    logits: Logits
    """their logits, float32 ``[N, C]``; large arrays are memory-mapped from a file"""
    bad: tuple[BadImage, ...]
    seconds: float
    """duration, decoding included"""
    run: str = ""
    """name of the run or the file of the bundle, by which a person tells two models apart"""
    unknown_below: float = 0.0
    """the score below which the model calls a photo unknown; such answers count in all other figures"""

    @property
    def name(self) -> str:
        """What reports call the model: its run or, without one, its bundle."""
        return self.run or self.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the indices."""
        return tuple(c.name for c in self.per_class)

    @property
    def images_per_second(self) -> float:
        """Images read, decoded and classified in a second; bad images count, since they take time too."""
        return (self.images + len(self.bad)) / max(self.seconds, 1e-9)

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """The scores of every class as in deployment, float32 ``[N, C]``; computed on first use."""
        return softmax(self.logits, self.calibration.temperature)

    @cached_property
    def predicted(self) -> Ints:
        """The best class of every image, int64 ``[N]``; the lower index of equal ones."""
        return best_class(self.logits)

    @cached_property
    def confidence(self) -> npt.NDArray[np.float32]:
        """The score of the best class of every image, float32 ``[N]``."""
        best, _ = scores(self.logits, self.labels, self.calibration.temperature)
        return best.astype(np.float32)

    @cached_property
    def unknown(self) -> npt.NDArray[np.bool_]:
        """Whether the model calls the image unknown, bool ``[N]``."""
        return np.asarray(self.confidence < self.unknown_below)

    @property
    def unknown_right(self) -> int:
        """The number of images that the model calls unknown although its best class is right."""
        return int(np.count_nonzero(self.unknown & (self.predicted == self.labels)))

    def score(self, position: int, index: int) -> float:
        """Return the score of class ``index`` for the image in row ``position`` of ``logits``."""
        row = self.logits[position : position + 1]
        return float(softmax(row, self.calibration.temperature)[0, index])

    def key(self, position: int) -> str:
        """Return the name of the image in row ``position`` of ``logits``."""
        return readable(self.source.samples[int(self.indices[position])].key)

    def read(self, position: int) -> bytes:
        """Return the encoded bytes of the image in row ``position`` of ``logits``.

        Raises:
            ImageError: the image was removed since the evaluation.
        """
        return self.source.read(int(self.indices[position]))

    def mistakes(self) -> Ints:
        """Return the rows with a wrong best class, the most confident first, int64."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def confused(self) -> list[tuple[int, int, int]]:
        """Return ``(true class, predicted class, images)`` of every kind of mistake, most frequent first."""
        return self.confusion.mistakes()

    def as_dict(self) -> dict[str, Any]:
        """Return the figures that the same bundle, engine and data reproduce, ready for JSON.

        Speed is left out, since it varies between runs. ``top1`` and the like are percentages; the ratios of
        classes and calibration lie between 0 and 1. ``confusion`` lists ``[true class, prediction, images]``.
        """
        return {
            "model": self.model,
            "name": self.name,
            "label_hash": label_hash(self.classes),
            "through": self.through,
            "dataset": readable(self.source.location),
            "notes": [readable(note) for note in source_notes(self.source)],
            "images": self.images,
            "correct_top1": self.correct_top1,
            "correct_top5": self.correct_top5,
            "top1": self.top1,
            "top1_interval": wilson_interval(self.correct_top1, self.images),
            "top5": self.top5,
            "macro_f1": self.macro_f1,
            "mean_recall": self.mean_recall,
            "calibration": _calibration(self.calibration),
            "fitted": _fit(self.fitted),
            "unknown": {
                "below": self.unknown_below,
                "images": int(self.unknown.sum()),
                "right": self.unknown_right,
            },
            "per_class": [_class(c) for c in self.per_class],
            "confusion": [list(cell) for cell in self.confusion.cells()],
            "bad": [asdict(image) for image in self.bad],
        }

    def metric(self, dataset: str) -> Metric:
        """Return the accuracy for a bundle's manifest, under the name ``dataset``."""
        return Metric(
            dataset=dataset, images=self.images, top1=self.top1, top5=self.top5, through=self.through
        )


def evaluate(
    classifier: Classifier, source: Source | str | os.PathLike[str], *, progress: Progress | None = None
) -> Evaluation:
    """Evaluate ``classifier`` on every image of ``source``.

    The images go through ``Classifier.stream_logits``, so the measured path is the deployed one. Unreadable
    images are left out of every figure and listed in ``bad``. The logits, float32 ``[N, C]``, are kept in
    memory, or above ``VALUES_IN_MEMORY`` in a temporary file that is removed with the evaluation. Figures are
    computed from a few megabytes of logits at a time.

    Args:
        classifier: the model and the engine.
        source: labelled images, open or as a path for ``data.open_source``; their classes are matched to the
            model's by name and may lack some. Of a path, the images that training set aside; see
            ``unseen_part``.
        progress: called after every image with the number of images done and their total.

    Raises:
        DataError: the source has classes that the model does not have, none of its images can be read, or the
            temporary file does not fit on the disk.
        BundleError: the model's logits are not finite.
    """
    if isinstance(source, str | os.PathLike):
        source = unseen_part(open_source(source), [classifier.bundle])
    source = align_source(source, classifier.classes)
    samples = source.samples
    total = len(samples)
    logits = _allocate_logits(total, len(classifier.classes))
    indices: list[int] = []
    bad: dict[int, BadImage] = {}
    opened: list[int] = []

    def contents() -> Iterator[bytes]:
        for index in range(total):
            try:
                content = source.read(index)
            except ImageError as error:
                bad[index] = _bad(samples[index].key, error.code, str(error))
            else:
                opened.append(index)
                yield content

    done = 0
    start = time.perf_counter()
    for number, answer in enumerate(classifier.stream_logits(contents())):
        index = opened[number]
        if isinstance(answer, PredictionError):
            bad[index] = _bad(samples[index].key, answer.code, answer.message)
        elif not np.isfinite(answer).all():
            raise BundleError(
                f"{classifier.bundle.name} answers {samples[index].key} with logits that are not finite; "
                f"check it with: ghostclas verify {classifier.bundle.path}"
            )
        else:
            logits[len(indices)] = answer
            indices.append(index)
        done = index + 1
        if progress:
            progress(done, total)
    seconds = time.perf_counter() - start
    if progress and done < total:
        progress(total, total)
    excluded = tuple(bad[index] for index in sorted(bad))
    if not indices:
        first = f": {excluded[0].key}: {excluded[0].message}" if excluded else ""
        raise DataError(f"none of the {total} images of {source.location} can be read{first}")
    labels = np.array([samples[index].label for index in indices], np.int64)
    answers = logits[: len(indices)]
    summary = summarize(
        answers, labels, classes=tuple(classifier.classes), temperature=classifier.postprocess.temperature
    )
    return Evaluation(
        **vars(summary),
        model=classifier.bundle.name,
        through=_through(classifier),
        source=source,
        indices=np.array(indices, np.int64),
        labels=labels,
        logits=answers,
        bad=excluded,
        seconds=seconds,
        run=locate(classifier.bundle.path).name,
        unknown_below=classifier.postprocess.unknown_below,
    )


def dataset_name(path: str | Path, source: Source) -> str:
    """Return the name of the part ``source`` of the data set at ``path``: ``tiny-imagenet-200/val``."""
    root = Path(path)
    part = source.location.removeprefix(str(root)).strip("/\\").replace("\\", "/")
    name = root.resolve().name
    name = name[: -len(".zip")] if name.lower().endswith(".zip") else name
    # An archive of a folder holds the folder itself: shop.zip/shop/val is shop/val.
    part = part.removeprefix(name).lstrip("/") if part.split("/")[0] == name else part
    return f"{name}/{part}" if part else name


def check_writable(bundle: Bundle) -> None:
    """Refuse a bundle that cannot be written, before the work whose result is to be written.

    Raises:
        BundleError: it is an archive, or this user may not write there.
    """
    if not bundle.path.is_dir():
        raise BundleError(
            f"{bundle.path} is an archive, which is not changed in place; unpack it and use that"
        )
    if not os.access(bundle.path, os.W_OK):
        raise BundleError(f"{bundle.path} cannot be written to; copy it and give the copy with --model")


def store_temperature(bundle: Bundle, fitted: TemperatureFit) -> Bundle:
    """Write a fitted temperature into the bundle: its scores become ``softmax(logits / temperature)``.

    The order of the classes, and therefore the accuracy, stays the same. A threshold of unknown photos that
    was fitted at another temperature is removed: it means nothing for the new scores.

    Raises:
        DataError: the data did not determine a temperature: it lies at the edge of the search range.
        BundleError: the bundle cannot be written to.
    """
    if not fitted.determined:
        raise DataError(
            f"these images determine no temperature (the best within {TEMPERATURES[0]:g} to "
            f"{TEMPERATURES[1]:g} is the end, {fitted.temperature:g}); "
            "use more images, among them some that the model gets wrong and more that it gets right"
        )

    def revise(manifest: Manifest) -> Mapping[str, Any]:
        before = manifest.postprocess
        kept = before.unknown_below if before.temperature == fitted.temperature else 0.0
        changes = {"temperature": fitted.temperature, "unknown_below": kept}
        return {"postprocess": before.model_copy(update=changes)}

    return revise_manifest(bundle, revise)


def readable(name: str) -> str:
    """Return a file name that any Unicode encoding can hold: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _allocate_logits(images: int, classes: int) -> Logits:
    """Return an array of float32 ``[images, classes]``: in memory, or in a temporary file if it is large."""
    if images * classes <= VALUES_IN_MEMORY:
        return np.empty((images, classes), np.float32)
    size = 4 * images * classes
    try:
        with tempfile.TemporaryFile() as file:
            if sys.platform == "linux":
                # Writing to a memory-mapped file that does not fit on the disk would kill the process.
                os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, np.float32, "w+", shape=(images, classes)))
    except OSError as error:
        raise DataError(
            f"the answers to {images:,} images need {size / 1e9:.1f} GB in {tempfile.gettempdir()}: "
            f"{error.strerror}\n"
            "       make room, or name another folder with the environment variable TMPDIR"
        ) from None


def _bad(key: str, code: str, message: str) -> BadImage:
    return BadImage(readable(key), code, readable(message))


def _through(classifier: Classifier) -> str:
    name: str = classifier.engine.name
    precision = classifier.engine.inference_precision
    suffix = f" in {precision}" if precision else ""
    try:
        return f"{name} {metadata.version(name)}{suffix}"
    except metadata.PackageNotFoundError:
        return name + suffix


def _calibration(calibration: Calibration) -> dict[str, Any]:
    bins = [{**asdict(b), "accuracy": b.accuracy} for b in calibration.bins]
    return {**asdict(calibration), "bins": bins}


def _fit(fitted: TemperatureFit) -> dict[str, Any]:
    return {
        "temperature": fitted.temperature,
        "fitted_on": fitted.fitted_on,
        "held_out": fitted.held_out,
        "before": _calibration(fitted.before),
        "after": _calibration(fitted.after),
    }


def _class(figures: ClassMetrics) -> dict[str, Any]:
    return {
        **asdict(figures),
        "precision": figures.precision,
        "recall": figures.recall,
        "f1": figures.f1,
    }
