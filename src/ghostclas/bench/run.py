"""A whole measurement, from cases to results."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ghostclas.bench.cases import Case, engine_package
from ghostclas.bench.cost import count_macs
from ghostclas.bench.latency import measure_latency
from ghostclas.bench.machine import describe_machine, package_version
from ghostclas.bench.photos import copied_photos, drawn_photos
from ghostclas.bench.results import Accuracy, CaseResult, Results, Settings
from ghostclas.bench.throughput import EndToEnd, measure_end_to_end
from ghostclas.data import Source, Subset, open_source
from ghostclas.errors import DataError
from ghostclas.evaluation import dataset_name, evaluate, unseen_part
from ghostclas.prediction import Classifier

Progress = Callable[[int, int], None]
Phase = Callable[[str], Progress]
"""Called with the name of a phase that begins; returns a function that takes what is done and the total."""

PUBLISHED_ON = "ImageNet-1k"


def measure(
    cases: Sequence[Case],
    settings: Settings,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    skipped: Sequence[str] = (),
    phase: Phase = lambda what: lambda done, total: None,
) -> Results:
    """Measure the cases.

    Args:
        cases: from ``find_cases``.
        settings: settings of the measurement.
        data: labelled images; accuracy is measured on all of them, and throughput on some.
        split: the part of them; when absent the validation part or, in data without splits, what training set
            aside.
        skipped: lines about what could not be measured, for the results.
        phase: see ``Phase``.

    Raises:
        DataError: the images cannot be used.
        UsageError, BundleError, MissingExtraError: a case cannot be opened.
    """
    machine = describe_machine()
    source = open_source(data, split) if data is not None else None
    latencies, noise = measure_latency(cases, settings, cores=machine.cores, progress=phase("latency"))
    photos, ends = _end_to_end(cases, settings, source, phase)
    judged = source if source is None or split else unseen_part(source, [case.bundle for case in cases])
    accuracies, failed = _accuracies(cases, data, judged, phase)
    if isinstance(judged, Subset):
        failed.extend(judged.notes)
    macs = {id(case.bundle): count_macs(case.bundle) for case in cases}
    return Results(
        machine=machine,
        settings=settings,
        photos=photos,
        noise=noise,
        cases=tuple(
            CaseResult(
                model=case.model,
                engine=case.engine,
                engine_version=package_version(engine_package(case.engine)),
                format=case.entry.format,
                precision=case.precision,
                size=case.size,
                bytes=case.bytes,
                macs=macs[id(case.bundle)],
                random_weights=case.random_weights,
                latency=latency,
                accuracy=accuracy or _published(case),
                **end._asdict(),
            )
            for case, latency, end, accuracy in zip(cases, latencies, ends, accuracies, strict=True)
        ),
        skipped=(*skipped, *failed),
    )


def _end_to_end(
    cases: Sequence[Case], settings: Settings, source: Source | None, phase: Phase
) -> tuple[str | None, list[EndToEnd]]:
    if not settings.cold_starts and not settings.passes:
        return None, [EndToEnd(None, None, None) for _ in cases]
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as temporary:
        folder = Path(temporary)
        if source is None:
            photos = drawn_photos(folder, settings.photos)
        else:
            photos = copied_photos(source, folder, settings.photos)
        return photos, measure_end_to_end(cases, settings, folder, progress=phase("fresh processes"))


def _accuracies(
    cases: Sequence[Case], data: str | Path | None, source: Source | None, phase: Phase
) -> tuple[list[Accuracy | None], list[str]]:
    found: list[Accuracy | None] = [None] * len(cases)
    failed: list[str] = []
    if data is None or source is None:
        return found, failed
    name = dataset_name(data, source)
    progress = phase("accuracy")
    for number, case in enumerate(cases):
        if case.random_weights:
            failed.append(f"{case.name}: no accuracy, its weights are random")
        else:
            try:
                found[number] = _accuracy(case, source, name)
            except DataError as error:
                failed.append(f"{case.name}: no accuracy: {str(error).splitlines()[0]}")
        progress(number + 1, len(cases))
    return found, failed


def _accuracy(case: Case, source: Source, dataset: str) -> Accuracy:
    with Classifier.load(case.bundle, engine=case.engine, precision=case.precision) as classifier:
        measured = evaluate(classifier, source)
    return Accuracy(
        dataset=dataset, top1=measured.top1, top5=measured.top5, images=measured.images, measured=True
    )


def _published(case: Case) -> Accuracy | None:
    published = case.bundle.manifest.provenance.get("published")
    if not isinstance(published, dict):
        return None
    return Accuracy.model_validate({"dataset": PUBLISHED_ON, "measured": False, **published})
