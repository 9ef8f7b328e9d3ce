"""``ghostclas eval`` and ``ghostclas compare``: measure models on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json, table
from ghostclas.errors import UsageError
from ghostclas.progress import console_progress, per_second
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.data import Source
    from ghostclas.evaluation import Comparison, Evaluation

DataOption = Annotated[
    Path, typer.Option(help="Folder or .zip of images: one folder a class, or such in train/ and val/.")
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        help="train, val or test; val when absent. Without splits: all; what training set aside when absent."
    ),
]
RootOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The directory of relative paths in a list.")
]
LabelFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Class names by index, for a list, shards or Parquet.")
]
EngineOption = Annotated[str, typer.Option(help="The runtime, or auto for the fastest that is installed.")]
PrecisionOption = Annotated[
    str | None, typer.Option(help="fp32, fp16 or int8, if the model has several files.")
]
BatchOption = Annotated[
    int | None, typer.Option(help="The number of photos in a batch; 4, or 8 in bf16, when absent.")
]
ThreadsOption = Annotated[int | None, typer.Option(help="The number of cores; all when absent.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print every figure as one JSON object.")]
ReportOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the page index.html there, and the figures.")
]
LISTED_CLASSES = 5
CHANGES = 5
NAMED = 10


def evaluate_command(
    data: DataOption,
    split: SplitOption = None,
    root: RootOption = None,
    label_file: LabelFileOption = None,
    model: Annotated[str, typer.Option(help="A bundle, a run, a model name, or default.")] = "default",
    engine: EngineOption = "auto",
    precision: PrecisionOption = None,
    batch_size: BatchOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
    seen: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The photos it learned from: --report shows those like mistakes."),
    ] = None,
    excel: Annotated[
        bool, typer.Option("--excel", help="With --report: a predictions.csv that Excel opens in UTF-8.")
    ] = False,
    fit_temperature: Annotated[
        bool,
        typer.Option(
            "--fit-temperature", help="Fit the temperature of scores on half of the images; store it."
        ),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Write the accuracy into the model's manifest.")
    ] = False,
) -> None:
    """Measure a model on labelled images.

    Every image takes the path of a prediction. Unreadable images are listed and left out of the figures.
    The same model, engine and images give the same figures, to the last digit.
    """
    from ghostclas.bundle import record_metric
    from ghostclas.data import open_source
    from ghostclas.evaluation import (
        check_report,
        check_writable,
        dataset_name,
        evaluate,
        most_similar,
        store_temperature,
        unseen_part,
        write_report,
    )
    from ghostclas.prediction import Classifier
    from ghostclas.prediction.similar import PhotoIndex

    if seen and not report:
        raise UsageError("--seen adds photos to the report: give --report DIR, too")
    if excel and not report:
        raise UsageError("--excel is for the table of the report: give --report DIR, too")
    if report:
        check_report(report)
    source = open_source(data, split, root=root, label_file=label_file)
    with Classifier.load(
        model, engine=engine, precision=precision, threads=threads, batch_size=batch_size
    ) as classifier:
        bundle = classifier.bundle
        if record or fit_temperature:
            check_writable(bundle)
        if split is None:
            source = unseen_part(source, [bundle])
        _note_split(data, source, split)
        evaluation = evaluate(classifier, source, progress=console_progress())
        similar = None
        if seen:
            index = PhotoIndex.open(classifier, seen, progress=console_progress("photos"))
            similar = most_similar(evaluation, index)
    note(
        f"{evaluation.images + len(evaluation.bad):,} images in {evaluation.seconds:.1f} s, "
        f"{per_second(evaluation.images_per_second)}"
    )
    if as_json:
        say_json(evaluation.as_dict())
    else:
        say(_figures(evaluation))
    page = None
    if report:
        page = write_report(evaluation, report, bundle=bundle, seen=similar, excel=excel)
    if record:
        metric = evaluation.metric(dataset_name(data, source))
        bundle = record_metric(bundle, metric)
        note(f"recorded in {bundle.path}: top-1 {metric.top1} % on {metric.dataset}")
    if fit_temperature:
        bundle = store_temperature(bundle, evaluation.fitted)
        fitted = evaluation.fitted
        note(
            f"stored in {bundle.path}: temperature {fitted.temperature:.6g}; calibration error from "
            f"{100 * fitted.before.ece:.2f} to {100 * fitted.after.ece:.2f} % "
            f"on {fitted.held_out:,} images that it was not fitted on"
        )
        if evaluation.unknown_below and not bundle.postprocess.unknown_below:
            options = ["--data", str(data), *(["--split", split] if split else []), "--model", model]
            print_next("ghostclas", "calibrate", *options, why="no photo is unknown any more; for that")
    if page:
        print_next(str(page), why="open")
    else:
        options = ["--data", str(data), *(["--split", split] if split else []), "--model", model]
        print_next("ghostclas", "eval", *options, "--report", "report", why="to see the mistakes")


def compare_command(
    a: Annotated[str, typer.Argument(metavar="A", help="A model: a bundle, a run, a name, or default.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model to compare with it.")],
    data: DataOption,
    split: SplitOption = None,
    root: RootOption = None,
    label_file: LabelFileOption = None,
    engine: EngineOption = "auto",
    precision: PrecisionOption = None,
    batch_size: BatchOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
) -> None:
    """Compare two models on the same images.

    Lists the images that only one of them gets right, and says whether chance explains the difference
    (McNemar's exact test). The models must have the same classes. Both are computed by one engine in one
    precision.
    """
    from ghostclas.data import open_source
    from ghostclas.evaluation import check_report, compare, open_both, unseen_part, write_comparison

    if report:
        check_report(report)
    source = open_source(data, split, root=root, label_file=label_file)
    with open_both(a, b, engine=engine, precision=precision, threads=threads, batch_size=batch_size) as (
        first,
        second,
    ):
        if split is None:
            source = unseen_part(source, [first.bundle, second.bundle])
        _note_split(data, source, split)
        comparison = compare(first, second, source, progress=console_progress("answers"))
    if as_json:
        say_json(comparison.as_dict())
    else:
        say(_changes(comparison))
    if report:
        print_next(str(write_comparison(comparison, report)), why="open")
    else:
        options = ["--data", str(data), *(["--split", split] if split else [])]
        print_next("ghostclas", "compare", a, b, *options, "--report", "comparison", why="to see the images")


def _note_split(data: Path, source: Source, split: str | None) -> None:
    from ghostclas.data import source_notes

    for line in source_notes(source):
        note(line)
    if split is None and source.location != str(data):
        note(f"measuring on {source.location}; --split names another split")


def _figures(e: Evaluation) -> str:
    from ghostclas.evaluation.metrics import wilson_interval

    low, high = wilson_interval(e.correct_top1, e.images)
    absent = sum(not c.support for c in e.per_class)
    rows = [
        [
            "top-1",
            f"{e.top1:.2f} %",
            f"{e.correct_top1:,} of {e.images:,}; 95 % interval {low:.1f} to {high:.1f} %",
        ]
    ]
    if e.top5 is not None:
        rows.append(["top-5", f"{e.top5:.2f} %", f"{e.correct_top5:,} of {e.images:,}"])
    fitted = "these images determine no better temperature"
    if e.fitted.determined:
        fitted = (
            f"at temperature {e.fitted.temperature:.4g}, fitted on {e.fitted.fitted_on:,} of the images, "
            f"{100 * e.fitted.after.ece:.2f} % on the other {e.fitted.held_out:,}"
        )
    rows += [
        [
            "mean recall",
            f"{100 * e.mean_recall:.2f} %",
            f"all classes with equal weights; mean F1 {e.macro_f1:.4f}",
        ],
        ["ECE", f"{100 * e.calibration.ece:.2f} %", f"calibration error; {fitted}"],
        ["NLL", f"{e.calibration.nll:.4f}", "negative log-likelihood of the true class"],
    ]
    if e.unknown_below:
        unknown = int(e.unknown.sum())
        rows.append(
            [
                "unknown",
                f"{100 * unknown / e.images:.2f} %",
                f"{unknown:,} with a score below {e.unknown_below:g}; {e.unknown_right:,} of them are right",
            ]
        )
    without = f" ({absent} of them without an image here)" if absent else ""
    lines = [
        printable(f"{e.name} through {e.through}"),
        f"{printable(e.source.location)}: {e.images:,} images, {len(e.classes):,} classes{without}",
        "",
        *_aligned(rows),
    ]
    lowest = sorted((c for c in e.per_class if c.support), key=lambda c: c.f1 or 0.0)[:LISTED_CLASSES]
    lines += ["", "the classes with the lowest F1"]
    lines += _aligned(
        [
            [
                f"  {c.name}",
                f"F1 {c.f1:.3f}",
                f"{c.correct} of {c.support} found, {c.predicted} predicted",
            ]
            for c in lowest
        ]
    )
    if pairs := e.confused()[:LISTED_CLASSES]:
        lines += ["", "the most frequent mistakes"]
        lines += [
            printable(f"  {count:>4} x {e.classes[right]} predicted as {e.classes[said]}")
            for right, said, count in pairs
        ]
    if e.bad:
        lines += ["", f"not counted: {len(e.bad):,} unreadable"]
        lines += [printable(f"  {image.key}: {image.code}: {image.message}") for image in e.bad[:NAMED]]
        if len(e.bad) > NAMED:
            lines.append(f"  and {len(e.bad) - NAMED:,} more; --json lists all")
    return "\n".join(lines)


def _changes(c: Comparison) -> str:
    from ghostclas.evaluation.report import verdict

    top1 = c.top1
    lines = [
        printable(f"A  {c.a.name} through {c.a.through}"),
        printable(f"B  {c.b.name} through {c.b.through}"),
        f"{printable(c.a.source.location)}: {c.images:,} images, {len(c.per_class):,} classes",
        "",
        *_aligned(
            [
                ["top-1", f"A {top1[0]:.2f} %", f"B {top1[1]:.2f} %, {top1[1] - top1[0]:+.2f} points"],
                ["same answer", f"{c.agreement:.2f} %", f"{c.agreeing:,} of {c.images:,}"],
                ["both right", f"{len(c.both):,}", ""],
                ["only A right", f"{len(c.only_a):,}", ""],
                ["only B right", f"{len(c.only_b):,}", ""],
                ["neither right", f"{len(c.neither):,}", ""],
            ]
        ),
        "",
        verdict(c),
    ]
    moved = sorted((r for r in c.per_class if r.delta), key=lambda r: (-abs(r.delta or 0.0), r.name))
    if moved:
        lines += ["", "the classes that changed most (recall)"]
        lines += _aligned(
            [
                [f"  {r.name}", f"{r.delta:+.1f} points", f"{r.correct_a} to {r.correct_b} of {r.support}"]
                for r in moved[:CHANGES]
            ]
        )
    for title, group in (("only A is right", c.only_a), ("only B is right", c.only_b)):
        if len(group):
            lines += ["", title, *(f"  {printable(c.key(i))}" for i in group[:NAMED].tolist())]
            if len(group) > NAMED:
                lines.append(f"  and {len(group) - NAMED:,} more; --json lists all")
    return "\n".join(lines)


def _aligned(rows: list[list[str]]) -> list[str]:
    return table(rows[0], rows[1:], right=(1,)).split("\n")
