"""``train --fast``: a new last layer on the features of a bundle, in seconds and without torch.

The network of the bundle stays as it is up to its pooled maps. They are the features; in a network that is no
GhostNet, the input of its last layer is. Those of every photo are computed once, in ONNX Runtime, and a
multinomial logistic regression maps them to the new classes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import check_target
from ghostclas.data import open_splits
from ghostclas.data.source import Source, labels_of
from ghostclas.engines.contract import FeatureEngine, features_of
from ghostclas.errors import DataError, ImageError, UsageError, refuse_url
from ghostclas.evaluation.report import Learned
from ghostclas.exporting.new_classifier import with_classifier, with_pooled_features
from ghostclas.exporting.provenance import made_now
from ghostclas.extras import require
from ghostclas.files import is_there, write_text
from ghostclas.prediction import Classifier
from ghostclas.progress import ProgressLine, duration, is_shown
from ghostclas.spec import PredictionError
from ghostclas.training.facts import hardware, images, versions
from ghostclas.training.finishing import few_images_note, measure_run, set_aside
from ghostclas.training.logistic import fit_classifier
from ghostclas.training.places import run_name, unused_run
from ghostclas.training.result import Run
from ghostclas.zoo import locate

MAX_BAD = 0.01
"""The share of images that may be unreadable, as ``data.max_bad`` of a whole training."""

SUFFIX = "-fast"


class _Features(NamedTuple):
    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    bad: dict[str, str]


def train_head(
    data: str | Path,
    *,
    weights: str | Path = "default",
    output: str | Path | None = None,
    val_fraction: float | None = None,
    max_bad: float = MAX_BAD,
    seed: int = 0,
    quiet: bool | None = None,
) -> Run:
    """Train the last layer alone on the features of a bundle, and return the run.

    Args:
        data: labelled photos; see ``data.open_splits``.
        weights: the bundle that gives the features: ``default``, a bundle or a run.
        output: the run directory; ``runs/<data>-<network>-fast`` when absent.
        val_fraction: part of the photos to set aside where there is no ``val`` part, as in ``open_splits``.
        max_bad: the share of photos that may be unreadable.
        seed: which photos are set aside, and the folds of the cross-validation.
        quiet: no progress on stderr; when absent, progress is shown in a notebook alone.

    Returns:
        The run. Its bundle predicts, verifies, exports and is trained on as any other.

    Raises:
        UsageError: the directory is in use, or the bundle gives no features.
        DataError: photos that cannot be used.
        MissingExtraError: onnx or scipy is not installed.
    """
    refuse_url(str(data))
    for package in ("onnx", "scipy", "threadpoolctl", "jinja2", "matplotlib"):
        require(package, extra="fast")
    located = locate(weights)
    if located.kind not in ("bundle", "run"):
        raise UsageError(
            f"{weights} is no bundle: --fast trains on the features of one, such as default or runs/X"
        )
    bundle = located.bundle()
    splits = open_splits(data, val_fraction=val_fraction, seed=seed)
    path = Path(output) if output else unused_run(run_name(data, bundle.name, SUFFIX))
    if is_there(path) and any(path.iterdir()):
        raise UsageError(f"{path} is not empty; choose another --output")
    check_target(path / "bundle")
    began = monotonic()
    progress = ProgressLine(enabled=is_shown(quiet))
    for note in (*splits.notes, few_images_note(len(splits.val.samples))):
        if note:
            progress.say(note)
    classes = tuple(splits.train.classes)
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as scratch:
        features_of(bundle.file("onnx"))
        pooled = with_pooled_features(bundle, Path(scratch) / "pooled")
        source = pooled or bundle
        with Classifier.load(source, engine="onnxruntime") as classifier:
            found = _features(classifier, splits.train, max_bad, progress)
            progress.say(
                f"{bundle.name}: {np.count_nonzero(found.values.any(axis=0))} features of "
                f"{len(found.labels)} photos, {len(classes)} classes"
            )
            fitted = fit_classifier(found.values, found.labels, len(classes), seed=seed)
            progress.say(
                f"logistic regression: L2 penalty {fitted.penalty:.2g}, loss {fitted.loss:.3f} in "
                "cross-validation"
            )
            path.mkdir(parents=True, exist_ok=True)
            made = with_classifier(
                source,
                path / "bundle",
                weight=fitted.weight,
                bias=fitted.bias,
                classes=classes,
                embed=cast(FeatureEngine, classifier.engine).embed,
                provenance={
                    "trained_on": Path(data).name,
                    "images": len(found.labels),
                    "trained": made_now("onnxruntime", "scipy"),
                    "method": "multinomial logistic regression on frozen features",
                    "features_of": located.name,
                    "features": "features" if pooled is None else "pooled maps",
                    "l2_penalty": fitted.penalty,
                    "cross_validation_loss": fitted.loss,
                    "seed": seed,
                    **set_aside(splits.val, seed),
                },
            )
    if found.bad:
        listed = "".join(f"{key}\t{message}\n" for key, message in sorted(found.bad.items()))
        write_text(path / "bad_images.txt", listed)
    seconds = monotonic() - began
    learned = Learned(
        (),
        {
            "Duration": f"{duration(seconds)} without validation",
            "Method": "the last layer alone: multinomial logistic regression on frozen features",
            "Images": images(len(found.labels), len(splits.val.samples), len(found.bad)),
            "Network": bundle.spec.name,
            "Features of": located.name,
            "L2 penalty": f"{fitted.penalty:.2g}, chosen by cross-validation",
            "Size": f"{bundle.preprocess.crop} px",
            "Seed": str(seed),
            "Hardware": hardware(),
            "Versions": versions("onnxruntime", "scipy"),
        },
    )
    metric = measure_run(made, splits.val, data, path / "report", progress.say, learned=learned)
    # Epoch 0: the photos were seen once, by a network that stays as it was.
    entry = {"epoch": 0, "seconds": round(seconds, 2), "top1": metric.top1, "top5": metric.top5, "best": True}
    write_text(path / "log.jsonl", json.dumps(entry) + "\n")
    return Run(path, made.path, 0, metric.top1, metric.top5, len(found.bad), images=metric.images)


def _features(classifier: Classifier, source: Source, max_bad: float, progress: ProgressLine) -> _Features:
    """Compute the features of every photo that can be read."""
    samples, labels = source.samples, labels_of(source.samples)
    bad: dict[str, str] = {}
    opened: list[int] = []

    def contents() -> Iterator[bytes]:
        for index in range(len(samples)):
            try:
                content = source.read(index)
            except ImageError as error:
                bad[samples[index].key] = str(error)
            else:
                opened.append(index)
                yield content

    rows, kept = [], []
    for number, answer in enumerate(classifier.stream_features(contents())):
        index = opened[number]
        if isinstance(answer, PredictionError):
            bad[samples[index].key] = answer.message
        else:
            rows.append(answer)
            kept.append(int(labels[index]))
        progress.step(f"features of {number + 1} of {len(samples)} photos")
    if len(bad) > max_bad * len(samples) or not rows:
        first = next(iter(bad.items()), ("", ""))
        raise DataError(
            f"{len(bad)} of {len(samples)} images of {source.location} cannot be read, such as {first[0]}: "
            f"{first[1]}\n       repair or remove them"
        )
    return _Features(np.stack(rows), np.array(kept, np.int64), bad)
