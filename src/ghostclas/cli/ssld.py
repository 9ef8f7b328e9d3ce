"""``ghostclas ssld``: distil a teacher with unlabelled images, in one command or step by step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli import console
from ghostclas.errors import UsageError
from ghostclas.progress import console_progress

if TYPE_CHECKING:
    from ghostclas.ssld.config import TeacherConfig
    from ghostclas.training import Run

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)

TeacherOption = Annotated[
    str | None,
    typer.Option(help="A bundle, a run, an .onnx file, efficientnet_lite0 to 2, or timm:NAME."),
]
LabeledOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Labelled images, as for train --data.")
]
UnlabeledOption = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Unlabelled images: a folder, .zip, list, shards or Parquet."),
]
WeightsOption = Annotated[
    str | None, typer.Option("--teacher-weights", metavar="FILE", help="A state dict for timm:NAME.")
]
ClassesOption = Annotated[
    str | None, typer.Option("--teacher-classes", metavar="FILE", help="The teacher's classes, one a line.")
]
MappingOption = Annotated[
    str | None,
    typer.Option(
        "--mapping", metavar="CSV", help="Rows output,class that map the teacher's outputs to classes."
    ),
]
SideOption = Annotated[
    int | None, typer.Option("--teacher-resolution", help="Side in pixels of the teacher's images.")
]
MeanOption = Annotated[
    str | None,
    typer.Option("--teacher-mean", metavar="R,G,B", help="For pixels in 0 to 1; ImageNet's when absent."),
]
StdOption = Annotated[
    str | None,
    typer.Option("--teacher-std", metavar="R,G,B", help="For pixels in 0 to 1; ImageNet's when absent."),
]
NetworkOption = Annotated[str | None, typer.Option(help="The student, such as ghostnet_x1_0.")]
OldModelOption = Annotated[str | None, typer.Option("--model", hidden=True)]
RecipeOption = Annotated[str, typer.Option(help="Name of a recipe that distils, or a YAML file.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as distil.mine.top_k=500."),
]
CacheOption = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="The cache of the teacher's logits; one for all runs when absent."),
]
OutputOption = Annotated[Path | None, typer.Option(help="Run directory; chosen below runs/ when absent.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")]
TimeOption = Annotated[
    str | None,
    typer.Option("--time", metavar="30m", help="End the training within this time: 90s, 30m or 2h."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback(invoke_without_command=True)
def ssld_command(
    ctx: typer.Context,
    teacher: TeacherOption = None,
    labeled: LabeledOption = None,
    unlabeled: UnlabeledOption = None,
    network: NetworkOption = None,
    recipe: Annotated[
        str | None, typer.Option(help="Name of a recipe that distils, or a YAML file; ssld when absent.")
    ] = None,
    settings: SettingsOption = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Train the teacher on the labelled images first.")
    ] = False,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    mapping: MappingOption = None,
    side: SideOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    cache: CacheOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    time: TimeOption = None,
    as_json: JsonOption = False,
    model: OldModelOption = None,
) -> None:
    """Distil a large teacher into a small network.

    Four steps: score, mine, distil, finetune. Without a step's name, all four. A stopped run continues
    with --output RUN --resume alone. Options belong behind the step's name.
    """
    if ctx.invoked_subcommand is not None:
        given = [name for name in (teacher, labeled, unlabeled, network, model, output) if name is not None]
        if given or settings or resume:
            raise UsageError(f"options belong behind the step: ghostclas ssld {ctx.invoked_subcommand} --...")
        return
    _need_torch()
    from ghostclas.ssld import distil

    goes_on = resume and output is not None and _holds_run(output)
    named = teacher is not None or not goes_on
    run = distil(
        teacher=_teacher(teacher, weights, classes, mapping, side, mean, std) if named else None,
        labeled=labeled if goes_on else _needed(labeled, "--labeled"),
        unlabeled=unlabeled if goes_on else _needed(unlabeled, "--unlabeled"),
        network=_network(network, model),
        recipe=recipe,
        settings=_settings(settings, time),
        cache=cache,
        adapt_teacher=adapt,
        output=output,
        resume=resume,
        quiet=False,
        count=console_progress() if _is_first() else None,
    )
    _print_result(run, as_json)


@app.command("score")
def score_command(
    teacher: TeacherOption = None,
    labeled: LabeledOption = None,
    unlabeled: UnlabeledOption = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    mapping: MappingOption = None,
    side: SideOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    cache: CacheOption = None,
    recipe: RecipeOption = "ssld",
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score every image once with the teacher and store the logits."""
    _need_torch()
    from ghostclas.ssld.pipeline import score_all
    from ghostclas.ssld.run_config import ssld_config

    known = _teacher(teacher, weights, classes, mapping, side, mean, std)
    config = ssld_config(
        known,
        _needed(labeled, "--labeled"),
        recipe=recipe,
        settings=_settings(settings),
        pool=unlabeled,
        cache=cache,
    )
    parts = score_all(config, count=console_progress())
    rows = [
        {
            "images": part.source.location,
            "known": len(part.readable),
            "new": part.scored,
            "unreadable": len(part.bad),
        }
        for part in parts
    ]
    if as_json:
        console.say_json({"cache": str(parts[0].cache.folder), "parts": rows})
        return
    for row in rows:
        console.say(
            "{images}: {known:,} scored, {new:,} of them now, {unreadable:,} unreadable".format(**row)
        )
    console.say(f"cache: {parts[0].cache.folder}")


@app.command("mine")
def mine_command(
    teacher: TeacherOption = None,
    labeled: LabeledOption = None,
    unlabeled: UnlabeledOption = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    mapping: MappingOption = None,
    side: SideOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    cache: CacheOption = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="The largest number of images of a class.")] = None,
    floor: Annotated[float | None, typer.Option(help="The lowest probability of an image.")] = None,
    recipe: RecipeOption = "ssld",
    settings: SettingsOption = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="The directory of the list and the page.")
    ] = Path("mined"),
    as_json: JsonOption = False,
) -> None:
    """Choose images of the pool to learn from.

    Copies, and images of the validation set, are left out.
    """
    _need_torch()
    from ghostclas.ssld.pipeline import mine_pool, summary
    from ghostclas.ssld.run_config import ssld_config

    changes = [
        *_settings(settings),
        *([f"distil.mine.top_k={top_k}"] if top_k is not None else []),
        *([f"distil.mine.floor={floor}"] if floor is not None else []),
    ]
    known = _teacher(teacher, weights, classes, mapping, side, mean, std)
    data = _needed(labeled, "--labeled")
    config = ssld_config(known, data, recipe=recipe, settings=changes, pool=unlabeled, cache=cache)
    found = mine_pool(config, output=output, count=console_progress())
    if as_json:
        console.say_json(found.to_json())
    else:
        console.say(summary(found))
    console.print_next(str(output / "index.html"), why="open")
    console.print_next(
        *("ghostclas", "ssld", "distil", "--teacher", known.model, "--labeled", data),
        *("--mined", str(output / "mined.json")),
    )


@app.command("distil")
def distil_command(
    teacher: TeacherOption = None,
    labeled: LabeledOption = None,
    mined: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The mined.json of step mine; labelled images alone when absent."),
    ] = None,
    network: NetworkOption = None,
    recipe: Annotated[
        str | None, typer.Option(help="Name of a recipe that distils, or a YAML file; ssld when absent.")
    ] = None,
    settings: SettingsOption = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    mapping: MappingOption = None,
    side: SideOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    time: TimeOption = None,
    as_json: JsonOption = False,
    model: OldModelOption = None,
) -> None:
    """Train a student on the teacher's answers; labels are not used.

    A stopped run continues with --output RUN --resume alone.
    """
    _need_torch()
    from ghostclas.ssld import train_student

    goes_on = resume and output is not None and _holds_run(output)
    named = teacher is not None or not goes_on
    run = train_student(
        teacher=_teacher(teacher, weights, classes, mapping, side, mean, std) if named else None,
        labeled=labeled if goes_on else _needed(labeled, "--labeled"),
        mined=mined,
        network=_network(network, model),
        recipe=recipe,
        settings=_settings(settings, time),
        output=output,
        resume=resume,
        quiet=False,
    )
    _print_result(
        run,
        as_json,
        following=(
            "ghostclas",
            "ssld",
            "finetune",
            "--weights",
            str(run.path),
            "--labeled",
            labeled or "DIR",
        ),
    )


@app.command("finetune")
def finetune_command(
    weights: Annotated[str | None, typer.Option(help="The run or bundle of step distil.")] = None,
    labeled: LabeledOption = None,
    recipe: RecipeOption = "ssld",
    settings: SettingsOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    time: TimeOption = None,
    as_json: JsonOption = False,
    model: OldModelOption = None,
) -> None:
    """Train a distilled student on the labels.

    The learning rate is a hundredth of the usual one.
    """
    _need_torch()
    from ghostclas.ssld import finetune

    run = finetune(
        _needed(console.renamed(weights, model, to="--weights", was="--model"), "--weights"),
        labeled=_needed(labeled, "--labeled"),
        recipe=recipe,
        settings=_settings(settings, time),
        output=output,
        resume=resume,
        quiet=False,
    )
    _print_result(run, as_json)


@app.command("adapt")
def adapt_command(
    teacher: TeacherOption = None,
    labeled: LabeledOption = None,
    recipe: RecipeOption = "ssld_teacher",
    settings: SettingsOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    time: TimeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a teacher on the labels, from its own weights."""
    _need_torch()
    from ghostclas.ssld import adapt

    data = _needed(labeled, "--labeled")
    run = adapt(
        _needed(teacher, "--teacher"),
        data,
        recipe=recipe,
        settings=_settings(settings, time),
        output=output,
        resume=resume,
        quiet=False,
    )
    _print_result(
        run,
        as_json,
        following=("ghostclas", "ssld", "--teacher", str(run.path), "--labeled", data, "--unlabeled", "POOL"),
    )


def _holds_run(output: Path) -> bool:
    """Whether there is a run to continue.

    Raises:
        UsageError: there is none.
    """
    from ghostclas.training.rundir import choose_run

    return choose_run("", output, resume=True)[1]


def _need_torch() -> None:
    from ghostclas.extras import require

    require("torch", extra="train")


def _network(network: str | None, model: str | None) -> str | None:
    return console.renamed(network, model, to="--network", was="--model")


def _needed(value: str | None, option: str) -> str:
    if value is None:
        raise UsageError(f"{option} is needed; see: ghostclas ssld --help")
    return value


def _settings(settings: list[str] | None, time: str | None = None) -> list[str]:
    from ghostclas.ssld.run_config import SsldConfig
    from ghostclas.training.config import minutes

    for setting in settings or ():
        key = setting.partition("=")[0]
        if key in SsldConfig.renamed:
            console.note(f"note: {key} is now called {SsldConfig.renamed[key]}")
    return [*(settings or ()), *([f"loop.time={minutes(time)}"] if time else [])]


def _teacher(
    model: str | None,
    weights: str | None,
    classes: str | None,
    mapping: str | None,
    side: int | None,
    mean: str | None,
    std: str | None,
) -> TeacherConfig:
    from pydantic import ValidationError

    from ghostclas.ssld.config import TeacherConfig

    given = {
        "model": _needed(model, "--teacher"),
        "weights": weights,
        "classes": classes,
        "mapping": mapping,
        "resolution": side,
        "mean": mean.split(",") if mean else None,
        "std": std.split(",") if std else None,
    }
    try:
        return TeacherConfig.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(
            f"the teacher's {problem['loc'][0]}: {problem['msg']}, got {problem['input']!r}"
        ) from None


def _is_first() -> bool:
    """Whether this is the only process, or the first of several, which prints for all."""
    return os.environ.get("RANK", "0") == "0"


def _print_result(run: Run, as_json: bool, following: tuple[str, ...] = ()) -> None:
    if not _is_first():
        return
    if as_json:
        console.say_json(run.as_dict())
    else:
        console.say(run.summary())
    console.print_next(*(following or ("ghostclas", "predict", "--model", str(run.bundle), "PHOTO")))
