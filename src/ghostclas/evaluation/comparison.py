"""Comparison of two models on the same images: the changed images, and the significance of the difference."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghostclas.bundle import Bundle
from ghostclas.data import Source, source_notes
from ghostclas.engines.choice import common_choice
from ghostclas.errors import BundleError
from ghostclas.evaluation.evaluation import Evaluation, evaluate, readable
from ghostclas.evaluation.metrics import Ints, percent
from ghostclas.progress import Progress
from ghostclas.spec import label_hash
from ghostclas.zoo import locate, run_folder

if TYPE_CHECKING:
    from ghostclas.prediction import Classifier

_SHOWN = 5


@dataclass(frozen=True)
class ClassChange:
    """The number of a class's ``support`` images that each model classifies correctly."""

    name: str
    support: int
    correct_a: int
    correct_b: int

    @property
    def delta(self) -> float | None:
        """Recall of B minus recall of A in percentage points; ``None`` without images."""
        return percent(self.correct_b - self.correct_a, self.support) if self.support else None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of :func:`compare`, over the images that both models could read.

    The four groups hold positions in the source, int64, ascending; every image is in exactly one group.
    """

    a: Evaluation
    b: Evaluation
    both: Ints
    only_a: Ints
    only_b: Ints
    neither: Ints
    agreeing: int
    """images that both models put into the same class, correct or not"""
    per_class: tuple[ClassChange, ...]

    @property
    def images(self) -> int:
        """The number of compared images."""
        return len(self.both) + len(self.only_a) + len(self.only_b) + len(self.neither)

    @property
    def agreement(self) -> float:
        """The percentage of images that both models put into the same class."""
        return percent(self.agreeing, self.images)

    @property
    def top1(self) -> tuple[float, float]:
        """Top-1 accuracy of A and of B on the shared images, in percent."""
        both = len(self.both)
        return percent(both + len(self.only_a), self.images), percent(both + len(self.only_b), self.images)

    @property
    def p_value(self) -> float:
        """The exact McNemar p-value of the difference; see :func:`mcnemar`."""
        return mcnemar(len(self.only_a), len(self.only_b))

    def key(self, index: int) -> str:
        """Return the name of the image at position ``index`` of the source."""
        return readable(self.a.source.samples[index].key)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures that the same bundles, engines and data reproduce, ready for JSON."""
        top1 = self.top1
        return {
            "a": {"model": self.a.model, "name": self.a.name, "through": self.a.through, "top1": top1[0]},
            "b": {"model": self.b.model, "name": self.b.name, "through": self.b.through, "top1": top1[1]},
            "dataset": readable(self.a.source.location),
            "notes": [readable(note) for note in source_notes(self.a.source)],
            "images": self.images,
            "agreeing": self.agreeing,
            "agreement": self.agreement,
            "both_right": len(self.both),
            "only_a_right": [self.key(i) for i in self.only_a.tolist()],
            "only_b_right": [self.key(i) for i in self.only_b.tolist()],
            "neither_right": len(self.neither),
            "mcnemar_p": self.p_value,
            "per_class": [{**asdict(c), "delta": c.delta} for c in self.per_class],
            "bad": [asdict(image) for image in dict.fromkeys((*self.a.bad, *self.b.bad))],
        }


def compare(a: Classifier, b: Classifier, source: Source, *, progress: Progress | None = None) -> Comparison:
    """Evaluate two classifiers on the same images and list the changes from ``a`` to ``b``.

    Args:
        a: the first model, usually the older one.
        b: the second, with the same classes in the same order.
        source: labelled images, as for :func:`evaluate`.
        progress: called with the number of answers and their total, two for each image.

    Raises:
        BundleError: the models have different classes; the message names those that differ.
        DataError: as for :func:`evaluate`, or both models can read no image.
    """
    check_same_classes(a, b)
    total = len(source.samples)

    def part(offset: int) -> Progress | None:
        return progress and (lambda done, _: progress(offset + done, 2 * total))

    name_a, name_b = _told_apart(a.bundle.path, b.bundle.path)
    return compare_evaluations(
        replace(evaluate(a, source, progress=part(0)), run=name_a),
        replace(evaluate(b, source, progress=part(total)), run=name_b),
    )


def _told_apart(a: Path, b: Path) -> tuple[str, str]:
    """Return the names of two runs, with as many folders in front as it takes to tell them apart."""
    names = [locate(path).name for path in (a, b)]
    above = [list(run_folder(path).parent.parts) for path in (a, b)]
    while names[0] == names[1] and all(above):
        names = [f"{parts.pop()}/{name}" for parts, name in zip(above, names, strict=True)]
    same = names[0] == names[1]
    return (locate(a).name, locate(b).name) if same else (names[0], names[1])


@contextmanager
def open_both(
    a: str | os.PathLike[str] | Bundle,
    b: str | os.PathLike[str] | Bundle,
    *,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
) -> Iterator[tuple[Classifier, Classifier]]:
    """Open two models in the same engine and precision, so that they differ in their weights alone.

    Raises:
        UsageError: there is no such model, or no engine and precision for both; see
            :func:`ghostclas.engines.choice.common_choice`.
        BundleError, MissingExtraError: as ``Classifier.load``.
    """
    from ghostclas.prediction import Classifier

    bundles = [model if isinstance(model, Bundle) else locate(model).bundle() for model in (a, b)]
    name, kind = common_choice(bundles, engine=engine, precision=precision)
    with ExitStack() as opened:
        first, second = (
            opened.enter_context(
                Classifier.load(bundle, engine=name, precision=kind, threads=threads, batch_size=batch_size)
            )
            for bundle in bundles
        )
        yield first, second


def compare_evaluations(a: Evaluation, b: Evaluation) -> Comparison:
    """Compare two evaluations of the same source, as :func:`compare` does."""
    shared, rows_a, rows_b = np.intersect1d(a.indices, b.indices, assume_unique=True, return_indices=True)
    labels = a.labels[rows_a]
    said_a, said_b = a.predicted[rows_a], b.predicted[rows_b]
    right_a, right_b = said_a == labels, said_b == labels
    count = len(a.classes)
    columns = (
        np.bincount(labels, minlength=count),
        np.bincount(labels[right_a], minlength=count),
        np.bincount(labels[right_b], minlength=count),
    )
    return Comparison(
        a=a,
        b=b,
        both=shared[right_a & right_b],
        only_a=shared[right_a & ~right_b],
        only_b=shared[~right_a & right_b],
        neither=shared[~right_a & ~right_b],
        agreeing=int(np.count_nonzero(said_a == said_b)),
        per_class=tuple(
            ClassChange(name, *counts)
            for name, *counts in zip(a.classes, *(c.tolist() for c in columns), strict=True)
        ),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of the hypothesis that two classifiers are equally often right.

    Under it, each image that only one of them gets right is equally likely to be either's, so ``only_a`` is
    binomial with p = 1/2. The value is twice the smaller tail, at most 1: Q. McNemar, "Note on the sampling
    error of the difference between correlated proportions", Psychometrika 12 (1947), in the exact form. The
    computation is in integers and therefore exact for any counts.
    """
    discordant = only_a + only_b
    tail = term = 1
    for i in range(min(only_a, only_b)):
        term = term * (discordant - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << discordant))


def check_same_classes(a: Classifier, b: Classifier) -> None:
    """Refuse two models whose class indices mean different classes.

    Raises:
        BundleError: their label hashes differ; the message names the classes.
    """
    if label_hash(a.classes) == label_hash(b.classes):
        return
    names = _told_apart(a.bundle.path, b.bundle.path)
    lines = [f"{names[0]} and {names[1]} have different classes and cannot be compared"]
    for one, other in ((a, b), (b, a)):
        known = set(other.classes)
        own = [f"{name!r} (class {i})" for i, name in enumerate(one.classes) if name not in known]
        if own:
            more = f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
            lines.append(f"only in {one.bundle.path}: {', '.join(own[:_SHOWN])}{more}")
    if len(lines) == 1:
        at, (name_a, name_b) = next(
            (i, pair) for i, pair in enumerate(zip(a.classes, b.classes, strict=True)) if pair[0] != pair[1]
        )
        lines.append(
            f"the same names in another order: class {at} is {name_a!r} in one, {name_b!r} in the other"
        )
    lines.append("compare models trained on the same classes, or measure each with: ghostclas eval")
    raise BundleError("\n       ".join(lines))
