"""``ghostclas bench``: reproducible figures of speed, size and accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json, say_json_text, table, warn
from ghostclas.errors import GhostclasError, UsageError
from ghostclas.progress import console_progress
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.bench.report import Table
    from ghostclas.bench.results import Results, Settings
    from ghostclas.bundle import Bundle

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A bundle, a run, default, or, with random weights, ghostnet_x1_3 or timm:NAME; may be repeated."
    ),
]
EngineOption = Annotated[
    str | None, typer.Option(help="Separated by commas; all installed ones that can run it when absent.")
]
ThreadsOption = Annotated[str, typer.Option(help="Numbers of threads for one photo, separated by commas.")]
BatchOption = Annotated[str, typer.Option(help="Batch sizes, separated by commas.")]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Of fp32, fp16, bf16, int8, by commas; all available ones when absent.")
]
SizeOption = Annotated[
    str | None, typer.Option(help="Sides of the input in pixels, by commas; the model's own when absent.")
]
DataOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Labelled images, for accuracy and throughput.")
]
SplitOption = Annotated[
    str | None, typer.Option(help="train, val or test; where there are parts, val when absent.")
]
RoundsOption = Annotated[int, typer.Option(min=1, help="Fewer give a first impression, more average noise.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print every figure as one JSON object.")]
ReportOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write a page with charts, and bench.json, there.")
]
ToleranceOption = Annotated[
    float, typer.Option(min=0, help="The part by which a time, a rate or a size may be worse.")
]


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    model: ModelOption = None,
    engine: EngineOption = None,
    threads: ThreadsOption = "1,2,4",
    batch: BatchOption = "1,4,8",
    precision: PrecisionOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    rounds: RoundsOption = 30,
    latency_only: Annotated[
        bool, typer.Option("--latency-only", help="Leave out cold start, memory and files to labels.")
    ] = False,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure speed, memory, size and accuracy on this machine.

    Speed is latency, throughput and cold start. All timings are interleaved, and one graph is timed twice:
    if its two figures differ, the machine is too noisy, and a warning says so.
    """
    if context.invoked_subcommand is not None:
        return
    from ghostclas.bench.report import check_report, write_report
    from ghostclas.bench.results import Settings

    if report:
        check_report(report)
    results = _measure(
        model or ["default"],
        Settings(
            threads=_numbers(threads, "--threads"),
            batches=_numbers(batch, "--batch"),
            rounds=rounds,
            cold_starts=0 if latency_only else min(rounds, 7),
            passes=0 if latency_only else min(rounds, 3),
        ),
        engine=engine,
        precision=precision,
        size=size,
        data=data,
        split=split,
    )
    _show(results, as_json=as_json)
    if report:
        print_next(str(write_report(results, report)), why="open")
    else:
        chosen = [word for name in model or () for word in ("--model", name)]
        print_next("ghostclas", "bench", *chosen, "--report", "bench", why="for charts and every figure")


@app.command("diff")
def diff_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A bench.json, or the directory of a report.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The measurement to compare with it.")],
    tolerance: ToleranceOption = 0.10,
    points: Annotated[
        float, typer.Option(min=0, metavar="POINTS", help="The points by which top-1 may be lower.")
    ] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Compare two measurements.

    The exit code is 1 if B is worse than A. A figure is worse if the change exceeds the tolerance and the
    noise of both machines. A figure that only A measured is worse, too.
    """
    from ghostclas.bench.diff import compare, other_machine, worse
    from ghostclas.bench.results import read_results

    before, after = read_results(a), read_results(b)
    changes = compare(before, after, tolerance=tolerance, accuracy_tolerance=points)
    if as_json:
        say_json([change._asdict() for change in changes])
    else:
        rows = [
            (
                change.case,
                change.figure,
                f"{change.before:,.2f} {change.unit}".strip(),
                "-" if change.after is None else f"{change.after:,.2f} {change.unit}".strip(),
                "-" if change.ratio is None else f"{change.ratio:.3f}",
                "" if change.verdict == "same" else change.verdict,
            )
            for change in changes
        ]
        say(table(("case", "figure", "A", "B", "B / A", ""), rows, right=(2, 3, 4)))
    if said := other_machine(before, after):
        warn(f"warning: {said}")
    if bad := worse(changes):
        raise GhostclasError(f"{len(bad)} of {len(changes)} figures are worse in {b}")
    note(f"none of {len(changes)} figures is worse in {b}")


@app.command("recommend")
def recommend_command(
    max_ms: Annotated[float, typer.Option(help="The limit for one photo, in milliseconds.")],
    data: Annotated[str, typer.Option(metavar="DIR", help="Labelled images to measure accuracy on.")],
    model: ModelOption = None,
    engine: EngineOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="For one photo; all cores when absent.")] = None,
    precision: PrecisionOption = None,
    size: SizeOption = None,
    split: SplitOption = None,
    rounds: RoundsOption = 30,
    as_json: JsonOption = False,
) -> None:
    """Choose the most accurate model within a time per photo.

    Time and accuracy are measured on this machine and these images. Give models of several widths, each
    trained on such images, and several sizes: all combinations with the installed engines and precisions
    are measured. The time is the median of one photo.
    """
    from ghostclas.bench.recommend import choices, pareto_front, recommend
    from ghostclas.bench.results import Settings
    from ghostclas.processor import usable_cores

    results = _measure(
        model or ["default"],
        Settings(threads=(threads or usable_cores(),), batches=(1,), rounds=rounds, cold_starts=0, passes=0),
        engine=engine,
        precision=precision,
        size=size,
        data=data,
        split=split,
    )
    found = choices(results)
    front = pareto_front(found)
    best = recommend(found, max_ms)
    if as_json:
        say_json({"best": best._asdict(), "front": [choice._asdict() for choice in front]})
        _warn(results)
        return
    rows = [
        (
            *choice.case.rsplit(" ", 3),
            f"{choice.ms:.2f}",
            f"{choice.p95:.2f}",
            f"{choice.top1:.2f}",
            f"{choice.bytes / 1e6:.1f}",
            "best within the time" if choice == best else "front" if choice in front else "",
        )
        for choice in found
    ]
    header = ("model", "engine", "precision", "px", "ms", "p95", "top-1 %", "MB", "")
    say(table(header, rows, right=range(3, 8)))
    _warn(results)


def _measure(
    models: Sequence[str],
    settings: Settings,
    *,
    engine: str | None,
    precision: str | None,
    size: str | None,
    data: str | None,
    split: str | None,
) -> Results:
    from ghostclas.bench.cases import find_cases
    from ghostclas.bench.models import open_models
    from ghostclas.bench.run import measure

    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        opened = open_models(
            models, None if size is None else _numbers(size, "--size"), make=_maker(Path(folder))
        )
        cases, skipped = find_cases(opened, engines=_words(engine), precisions=_words(precision))
        return measure(cases, settings, data=data, split=split, skipped=skipped, phase=_phase)


def _maker(folder: Path) -> Callable[[str, int | None], Bundle]:
    def make(model: str, size: int | None) -> Bundle:
        from ghostclas.extras import require

        require("torch", extra="export")
        from ghostclas.exporting.variants import make_variant

        note(f"exporting {model}{f' at {size} pixels' if size else ''}")
        return make_variant(model, folder / str(len(list(folder.iterdir()))), size=size)

    return make


def _phase(what: str) -> Callable[[int, int], None]:
    note(f"measuring: {what}")
    return console_progress("rounds" if what != "accuracy" else "cases")


def _show(results: Results, *, as_json: bool) -> None:
    from ghostclas.bench.report import notes, tables

    if as_json:
        say_json_text(results.model_dump_json())
    else:
        say(printable(str(results.machine)))
        for one in tables(results):
            _print(one)
        for line in notes(results):
            note(line)
    for line in results.skipped:
        warn(f"not measured: {line}")
    _warn(results)


def _warn(results: Results) -> None:
    from ghostclas.bench.noise import warning

    if said := warning(results.noise):
        warn(f"warning: {said}")


def _print(shown: Table) -> None:
    """Print a table: fitted to a terminal, or in full width to a file or pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(
        title=shown.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for number, name in enumerate(shown.header):
        drawn.add_column(name, justify="left" if number < shown.names else "right", no_wrap=number == 0)
    for row in shown.rows:
        drawn.add_row(*map(printable, row))
    console = Console(markup=False, highlight=False)
    console = console if console.is_terminal else Console(markup=False, highlight=False, width=240)
    with console.capture() as capture:
        console.print(drawn)
    say("\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines()))


def _words(given: str | None) -> list[str] | None:
    return None if given is None else [word.strip() for word in given.split(",") if word.strip()]


def _numbers(given: str, option: str) -> tuple[int, ...]:
    words = _words(given) or []
    if not words or not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(f"{option} takes numbers from 1 separated by commas, not {given!r}")
    return tuple(dict.fromkeys(map(int, words)))
