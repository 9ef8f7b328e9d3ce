"""``ghostclas calibrate``: honest scores, and the score below which a photo is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json, table
from ghostclas.cli.evaluate import EngineOption, SplitOption, ThreadsOption
from ghostclas.errors import UsageError
from ghostclas.progress import console_progress
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.evaluation import ScoreFit


def calibrate_command(
    model: Annotated[str, typer.Option(help="A bundle or a run; what is fitted is written into it.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled photos that it was not trained on: folder, .zip, list, shards, Parquet."),
    ] = None,
    others: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Photos of none of its classes; labels are ignored.")
    ] = None,
    cost: Annotated[
        float, typer.Option(help="The share of right answers that may become unknown: 0.05 is 5 %.")
    ] = 0.05,
    split: SplitOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and write nothing.")] = False,
    off: Annotated[
        bool, typer.Option("--off", help="Remove the threshold: no photo is unknown any more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as one JSON object.")] = False,
) -> None:
    """Teach a model to say that it does not know a photo.

    Fits the temperature of its scores and the score below which a photo is unknown, and writes both into the
    model. Its files and the order of its labels stay as they are.
    """
    from ghostclas.data import open_source, source_notes
    from ghostclas.data.pool import open_pool
    from ghostclas.evaluation import check_writable, fit_scores, remove_unknown, store_scores, unseen_part
    from ghostclas.evaluation.unknown import check_determined
    from ghostclas.prediction import Classifier
    from ghostclas.zoo import locate

    if off:
        if data or others:
            raise UsageError(
                "--off removes the threshold and measures nothing: leave --data and --others out"
            )
        bundle = locate(model).bundle()
        check_writable(bundle)
        note(f"stored in {remove_unknown(bundle).path}: no photo is unknown")
        return
    if data is None:
        raise UsageError("calibrate needs labelled photos: --data FOLDER (or --off to remove the threshold)")
    source = open_source(data, split)
    foreign = open_pool(others) if others else None
    with Classifier.load(model, engine=engine, threads=threads) as classifier:
        bundle = classifier.bundle
        if not dry_run:
            check_writable(bundle)
        if split is None:
            source = unseen_part(source, [bundle])
            for line in source_notes(source):
                note(line)
            if source.location != str(data):
                note(f"fitting on {source.location}; --split names another split")
        fit = fit_scores(classifier, source, foreign, cost=cost, progress=console_progress())
    if as_json:
        say_json(fit.as_dict())
    else:
        say(_figures(fit))
    if dry_run:
        check_determined(fit.unknown)
        note("nothing was written, as --dry-run asks")
        return
    bundle = store_scores(bundle, fit)
    after = bundle.postprocess
    below = f"unknown below {after.unknown_below:g}" if fit.unknown.determined else "no threshold"
    note(f"stored in {bundle.path}: temperature {after.temperature:.6g}, {below}")
    check_determined(fit.unknown)
    print_next("ghostclas", "predict", "PHOTO_OR_FOLDER", "--model", model)


def _figures(fit: ScoreFit) -> str:
    e, u = fit.evaluation, fit.unknown
    error = f"calibration error {100 * e.fitted.before.ece:.2f} %"
    if fit.tempered:
        error += f" before and {100 * e.fitted.after.ece:.2f} % now, on images that it was not fitted on"
    rows = [
        ["temperature", f"{fit.temperature:.4g}", ("" if fit.tempered else "as it was; ") + error],
    ]
    if u.determined:
        cost = f"chosen to cost at most {100 * u.cost:g} % of right answers"
        rows += [
            ["unknown below", f"{u.threshold:g}", cost],
            ["right answers", _share(u.right_unknown, u.right), "become unknown: what it costs"],
            ["wrong answers", _share(u.wrong_unknown, u.wrong), "become unknown"],
        ]
    if u.determined and u.others:
        bad = f"; {fit.others_bad:,} could not be read" if fit.others_bad else ""
        rows.append(["other photos", _share(u.others_unknown, u.others), f"become unknown{bad}"])
    lines = [
        printable(f"{e.name} through {e.through}"),
        f"{printable(e.source.location)}: {e.images:,} images, top-1 {e.top1:.2f} %",
        "",
        table(rows[0], rows[1:], right=(1,)),
    ]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}, {100 * part / whole:.1f} %" if whole else "none"
