"""The public verbs: each opens its arguments and calls one function of a room.

A model is a name as on the command line (a bundle, a run, a zoo name, ``default``), or an open ``Bundle``,
``Run`` or ``Classifier``. Verbs that need torch import it when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from ghostclas.bundle import Bundle
from ghostclas.data import Source, open_source
from ghostclas.data.pool import open_pool
from ghostclas.errors import UsageError
from ghostclas.evaluation import (
    Comparison,
    Evaluation,
    ScoreFit,
    check_writable,
    fit_scores,
    open_both,
    store_scores,
    unseen_part,
)
from ghostclas.evaluation import compare as compare_classifiers
from ghostclas.evaluation import evaluate as evaluate_classifier
from ghostclas.evaluation.unknown import COST
from ghostclas.extras import require
from ghostclas.prediction import Classifier
from ghostclas.verification import VerifyReport
from ghostclas.verification import record as record_parity
from ghostclas.verification import verify as verify_bundle
from ghostclas.zoo import EFFICIENTNET_LITE, ZOO, locate, resolve_spec

if TYPE_CHECKING:
    from torch import nn

Model: TypeAlias = str | os.PathLike[str] | Bundle | Classifier
Data: TypeAlias = str | os.PathLike[str] | Source
Progress: TypeAlias = Callable[[int, int | None], None]

load = Classifier.load


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Return the names for ``create_model`` and ``train``, sorted.

    Any other width also has a name, such as ``ghostnet_x0_75``, and so does every network of timm:
    ``timm:NAME``.

    Args:
        pattern: a pattern of names, such as ``*_x1_*``.
        pretrained: only names with published weights.
    """
    named = [name for name, entry in ZOO.items() if entry.url or not pretrained]
    return sorted(name for name in (*named, *EFFICIENTNET_LITE) if fnmatchcase(name, pattern.lower()))


def create_model(
    name: str,
    *,
    pretrained: bool | str | os.PathLike[str] = False,
    num_classes: int | None = None,
) -> nn.Module:
    """Return the network ``name``, in training mode.

    It maps normalised float images ``[N, 3, H, W]`` to logits ``[N, num_classes]``.

    Args:
        name: one of ``list_models()``, any width such as ``ghostnet_x0_75``, or ``timm:NAME``.
        pretrained: ``False`` for random weights; ``True`` for the published ones, which are downloaded once;
            or a name of other weights: ``default``, a bundle, a run, a file of weights or a zoo name.
        num_classes: the number of outputs; when absent that of the weights, or 1000 without weights. With
            another number than the weights have, the classifier is new and everything else is loaded.

    Raises:
        UsageError: there is no such network, or nobody published weights for it.
        BundleError: the weights do not fit the network.
        DataError: the download failed.
        MissingExtraError: torch is not installed.
    """
    require("torch", extra="export")
    from ghostclas import models
    from ghostclas.loading import load_state, load_weights

    spec = resolve_spec(name, num_classes=1000 if num_classes is None else num_classes)
    if pretrained is False:
        return models.create_model(spec)
    file = locate(name if pretrained is True else pretrained).weights()
    if num_classes is None and (bias := load_state(file).get("classifier.bias")) is not None:
        spec = spec.model_copy(update={"num_classes": len(bias)})
    network = models.create_model(spec)
    load_weights(network, file, reset_classifier=True)
    return network


def evaluate(
    model: Model,
    data: Data,
    *,
    split: str | None = None,
    engine: str | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model on labelled images, through the path that predictions take.

    Args:
        model: see the head of this module.
        data: a folder, ``.zip``, list, shards or Parquet (see ``data.open_source``), or an open source.
        split: ``train``, ``val`` or ``test`` of a folder with splits; ``val`` when absent. Or ``all`` of a
            folder without splits; when absent, the part that the model's training set aside, if it did.
        engine: the runtime; the fastest installed one when absent. An open classifier keeps its own.
        precision: ``fp32``, ``fp16`` or ``int8``, if the model has several files.
        progress: called with the number of images done and their total.

    Raises:
        UsageError, BundleError, MissingExtraError: as :func:`load`.
        DataError: images cannot be used, or the model lacks their classes.
    """
    source = _source(data, split)
    with _classifier(model, engine, precision) as classifier:
        return evaluate_classifier(classifier, _part(source, data, split, classifier), progress=progress)


def compare(
    a: Model,
    b: Model,
    data: Data,
    *,
    split: str | None = None,
    engine: str | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Evaluate two models with the same classes on the same images, and list the changes from ``a`` to ``b``.

    Both are opened in one engine and one precision; beside an open classifier, the other in its engine.

    Args, errors: as :func:`evaluate`; BundleError also for models whose classes differ, UsageError also for
        models that no engine computes in one precision.
    """
    source = _source(data, split)
    with _both(a, b, engine, precision) as (first, second):
        part = _part(source, data, split, first, second)
        return compare_classifiers(first, second, part, progress=progress)


def calibrate(
    model: Model,
    data: Data,
    others: Data | None = None,
    *,
    cost: float = COST,
    split: str | None = None,
    engine: str | None = None,
    store: bool = True,
    progress: Progress | None = None,
) -> ScoreFit:
    """Fit the temperature of a model's scores and the score below which a photo is unknown; store both.

    A classifier that is already open keeps its former scores.

    Args:
        model: see the head of this module; its bundle is a folder.
        data: labelled photos that it was not trained on, as for :func:`evaluate`.
        others: photos of none of its classes, in a folder, ``.zip`` or list; labels are ignored.
        cost: the share of right answers that may become unknown.
        split: as for :func:`evaluate`.
        engine: as for :func:`evaluate`.
        store: write the result into the bundle; otherwise only return it.
        progress: called with the number of photos done and their total.

    Raises:
        DataError: too few photos are right to keep the cost, and no temperature is better; or as
            :func:`evaluate`.
        UsageError, BundleError, MissingExtraError: as :func:`load`; the bundle cannot be written to.
    """
    source = _source(data, split)
    foreign = open_pool(others) if isinstance(others, str | os.PathLike) else others
    with _classifier(model, engine) as classifier:
        if store:
            check_writable(classifier.bundle)
        part = _part(source, data, split, classifier)
        fit = fit_scores(classifier, part, foreign, cost=cost, progress=progress)
        if store:
            store_scores(classifier.bundle, fit)
    return fit


def verify(
    model: str | os.PathLike[str] | Bundle,
    data: Data | None = None,
    *,
    engines: Collection[str] | None = None,
    files: Collection[str] | None = None,
    record: bool = False,
    strict: bool = True,
) -> VerifyReport:
    """Check every file of a bundle, in every installed engine, against the bundle's reference answers.

    Args:
        model: a bundle, a run, ``default``, or an open bundle.
        data: photos on which the engines are compared with each other, too.
        engines: names of engines; all installed ones when absent.
        files: files of the bundle, by their paths in it; all when absent.
        record: write the result into the bundle's manifest and ``parity.json``.
        strict: raise an error for a wrong answer; otherwise only the report's ``ok`` tells.

    Raises:
        BundleError: the bundle does not verify, or cannot be written to.
        ExportError: an answer is wrong, or a file is of another Paddle Lite than the one named for it.
    """
    bundle = model if isinstance(model, Bundle) else locate(model).bundle()
    if record:
        check_writable(bundle)
    if any(entry.format == "paddlelite" for entry in bundle.manifest.files):
        from ghostclas.exporting.paddlelite import check_files

        check_files(bundle)
    source = None if data is None else _source(data, None)
    report = verify_bundle(bundle, data=source, engines=engines, files=files, strict=False)
    if record:
        record_parity(bundle, report)
    if strict:
        report.require_ok()
    return report


def _source(data: Data, split: str | None) -> Source:
    if isinstance(data, str | os.PathLike):
        return open_source(data, split)
    if split is not None:
        raise UsageError("an open source is measured as it is: leave split out, or give the path of the data")
    return data


def _part(source: Source, data: Data, split: str | None, *classifiers: Classifier) -> Source:
    """Return what is measured: an open source or a named split as it is, else what training set aside."""
    if split is not None or not isinstance(data, str | os.PathLike):
        return source
    return unseen_part(source, [classifier.bundle for classifier in classifiers])


@contextmanager
def _both(
    a: Model, b: Model, engine: str | None, precision: str | None
) -> Iterator[tuple[Classifier, Classifier]]:
    if not isinstance(a, Classifier) and not isinstance(b, Classifier):
        with open_both(a, b, engine=engine or "auto", precision=precision) as both:
            yield both
        return
    given = next(each for each in (a, b) if isinstance(each, Classifier))
    with ExitStack() as opened:
        first, second = (
            opened.enter_context(
                _classifier(each, engine, precision)
                if isinstance(each, Classifier)
                else _classifier(each, given.engine.name, given.engine.inference_precision)
            )
            for each in (a, b)
        )
        yield first, second


@contextmanager
def _classifier(model: Model, engine: str | None, precision: str | None = None) -> Iterator[Classifier]:
    if not isinstance(model, Classifier):
        with load(model, engine=engine or "auto", precision=precision) as classifier:
            yield classifier
    elif engine is None and precision is None:
        yield model
    else:
        raise UsageError("an open classifier has its engine and precision: leave them out, or give its model")
