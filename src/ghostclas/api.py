"""The public verbs: each opens what it is given and calls one function of a room.

They take a model as it is named on the command line (a bundle, a run, a zoo name, ``default``), or as an open
``Bundle``, ``Run`` or ``Classifier``. What needs torch imports it when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from ghostclas.bundle import Bundle
from ghostclas.data import Source, open_source
from ghostclas.errors import UsageError
from ghostclas.evaluation import Comparison, Evaluation, check_writable
from ghostclas.evaluation import compare as compare_classifiers
from ghostclas.evaluation import evaluate as evaluate_classifier
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
    """Return the names that ``create_model`` and ``train`` know, sorted.

    Any other width has a name, too: ``ghostnet_x0_75``; and so has every network of timm: ``timm:NAME``.

    Args:
        pattern: what the names look like, as ``*_x1_*``.
        pretrained: only those with weights that somebody published.
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
        name: one of ``list_models()``, any width as ``ghostnet_x0_75``, or ``timm:NAME``.
        pretrained: ``False`` for random weights; ``True`` for the published ones, which are downloaded once;
            or what to load: ``default``, a bundle, a run, a file of weights or another zoo name.
        num_classes: how many outputs; as many as the weights have, or 1000 without weights, when absent. With
            another number than the weights have, the classifier is new and everything else is loaded.

    Raises:
        UsageError: there is no such network, or nobody published weights for it.
        BundleError: weights that do not fit the network.
        DataError: a failed download.
        MissingExtraError: torch is not installed.
    """

    require("torch", extra="export")
    from ghostclas import models
    from ghostclas.loading import load_state, load_weights
    from ghostclas.spec import ModelSpec
    from ghostclas.zoo import TIMM

    if name.startswith(TIMM):
        spec = ModelSpec(name=name.removeprefix(TIMM), family="timm", num_classes=num_classes or 1000)
    else:
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
    """Measure a model on labelled images, through the path that predictions take.

    Args:
        model: see the head of this module.
        data: a folder, ``.zip``, list, shards or Parquet (see ``data.open_source``), or an open source.
        split: ``train``, ``val`` or ``test`` of a folder with parts; ``val`` when absent.
        engine: the runtime; the fastest that is installed when absent. Of an open classifier it is its own.
        precision: ``fp32``, ``fp16`` or ``int8``, where the model has several files.
        progress: called with how many images are done and how many there are.

    Raises:
        UsageError, BundleError, MissingExtraError: as :func:`load`.
        DataError: images that cannot be used, or classes that the model has not.
    """
    source = _source(data, split)
    with _classifier(model, engine, precision) as classifier:
        return evaluate_classifier(classifier, source, progress=progress)


def compare(
    a: Model,
    b: Model,
    data: Data,
    *,
    split: str | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure two models with the same classes on the same images, and say what changed from ``a`` to ``b``.

    Args, errors: as :func:`evaluate`; BundleError also for models whose classes differ.
    """
    source = _source(data, split)
    with _classifier(a, engine) as first, _classifier(b, engine) as second:
        return compare_classifiers(first, second, source, progress=progress)


def verify(
    model: str | os.PathLike[str] | Bundle,
    data: Data | None = None,
    *,
    engines: Collection[str] | None = None,
    files: Collection[str] | None = None,
    record: bool = False,
    strict: bool = True,
) -> VerifyReport:
    """Check every file of a bundle, in every engine here, against the answers that the bundle carries.

    Args:
        model: a bundle, a run, ``default``, or an open bundle.
        data: photos on which to compare the engines with each other, too.
        engines: which engines; all that are installed when absent.
        files: which files of the bundle, by their path in it; all when absent.
        record: write the result into the bundle's manifest and ``parity.json``.
        strict: raise where an answer is wrong; otherwise the report's ``ok`` says so.

    Raises:
        BundleError: the bundle does not verify, or cannot be written to.
        ExportError: an answer is wrong.
    """
    bundle = model if isinstance(model, Bundle) else locate(model).bundle()
    if record:
        check_writable(bundle)
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


@contextmanager
def _classifier(model: Model, engine: str | None, precision: str | None = None) -> Iterator[Classifier]:
    if not isinstance(model, Classifier):
        with load(model, engine=engine or "auto", precision=precision) as classifier:
            yield classifier
    elif engine is None and precision is None:
        yield model
    else:
        raise UsageError("an open classifier has its engine and precision: leave them out, or give its model")
