"""``ghostclas runs``: training runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghostclas.cli.console import print_next, say, say_json, table


def runs_command(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Folders of runs, and runs.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page there: the table, and the curves.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of runs as JSON.")] = False,
) -> None:
    """Compare training runs.

    Prints a row for each run below the given folders (runs when absent), the best first, with its top-1, the
    95 % interval of that, and its settings.
    """
    from ghostclas.evaluation.runs import read_runs, write_runs
    from ghostclas.pages import check_page
    from ghostclas.progress import duration

    if report:
        check_page(report)
    places = paths or [Path("runs")]
    runs = read_runs(places)
    if as_json:
        say_json([run.as_dict() for run in runs])
    else:
        header = [
            "run",
            "top-1",
            "95 % interval",
            "val",
            "best",
            "epochs",
            "time",
            "network",
            "batch",
            "lr",
            "px",
        ]
        rows = []
        for run in runs:
            figures = run.as_dict()
            planned = figures["planned_epochs"]
            left = (
                "" if run.finished else f" of {planned:g}" if isinstance(planned, int | float) else " so far"
            )
            low_high = run.interval
            rows.append(
                [
                    run.name,
                    "none" if run.top1 is None else f"{run.top1:.2f} %",
                    "" if low_high is None else f"{low_high[0]:.1f} to {low_high[1]:.1f}",
                    *(_shown(figures[key]) for key in ("val_images", "best_epoch")),
                    f"{figures['epochs']}{left}" if run.epochs or left else "",
                    duration(figures["seconds"]),
                    *(
                        _shown(figures[key])
                        for key in ("network", "batch_size", "learning_rate", "resolution")
                    ),
                ]
            )
        say(table(header, rows, right=(1, 2, 3, 4, 5, 6, 8, 9, 10)))
    if report:
        print_next(str(write_runs(runs, report)), why="open")
    elif len(runs) > 1 and runs[1].finished and runs[0].finished:
        first, second = str(runs[1].path), str(runs[0].path)
        print_next("ghostclas", "compare", first, second, "--data", "FOLDER", why="to see what differs")
    else:
        why = "to see the curves" if any(run.epochs for run in runs) else "to see this as a page"
        print_next("ghostclas", "runs", *map(str, places), "--report", "runs-report", why=why)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
