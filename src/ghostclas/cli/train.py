"""``ghostclas train``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli import console
from ghostclas.files import is_there
from ghostclas.training.recipes import recipe_names

if TYPE_CHECKING:
    from ghostclas.training.result import Run


def train_command(
    data: Annotated[
        str | None, typer.Option(help="Folder or archive of images: train/ and val/, or one folder a class.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="The architecture: ghostnet_x1_0, ghostnet_x0_75, or timm:NAME (in the extra ssld). "
            "When absent, that of a model in --weights, else the recipe's."
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Initial weights: default, a bundle, a run, a file or a name.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help=f"A YAML file, or one of {', '.join(recipe_names())}; chosen by what is given."),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="The last layer alone, on the features of a bundle: in seconds, without torch."
        ),
    ] = False,
    epochs: Annotated[float | None, typer.Option(help="Passes over all images.")] = None,
    size: Annotated[int | None, typer.Option(metavar="PX", help="Side of the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size, over all processes.")] = None,
    lr: Annotated[float | None, typer.Option(help="The highest learning rate.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as optimizer.lr=0.1."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Run directory; runs/<data>-<network> when absent.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue a stopped run; with 'auto' behind it, start one if there is none."
        ),
    ] = False,
    resume_auto: Annotated[bool, typer.Option("--resume-auto", hidden=True)] = False,
    time: Annotated[
        str | None, typer.Option(metavar="30m", help="End within this time: 90s, 30m or 2h.")
    ] = None,
    show_settings: Annotated[
        bool, typer.Option("--settings", help="Print every setting with its explanation, and end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    model: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Train a classifier on labelled photos."""
    from ghostclas.extras import require

    began = monotonic()
    network = console.renamed(network, model, to="--network", was="--model")
    _check_words(data, network, weights)
    if fast:
        given = {
            "--network": network,
            "--recipe": recipe,
            "--epochs": epochs,
            "--size": size,
            "--batch-size": batch_size,
            "--lr": lr,
            "--set": settings or None,
            "--time": time,
            "--resume": resume or resume_auto or None,
            "--settings": show_settings or None,
        }
        _print_run(
            _fast(data, weights, output, [flag for flag, value in given.items() if value is not None]),
            as_json,
        )
        return
    require("torch", extra="train")
    from ghostclas.ssld.run_config import wants_teacher
    from ghostclas.training.config import TrainConfig, minutes
    from ghostclas.training.resumption import Resume

    going_on: Resume = "auto" if resume_auto else resume
    resumed = (
        str(output / "config.yaml") if going_on and output and is_there(output / "config.yaml") else None
    )
    taught = wants_teacher(recipe or resumed, settings or ())
    if show_settings:
        from ghostclas.training.settings import settings_document

        schema = TrainConfig
        if taught:
            from ghostclas.ssld import SsldConfig

            schema = SsldConfig
        console.say(settings_document(recipe or "scratch", schema=schema).rstrip())
        return
    if taught:
        from ghostclas.ssld import train_student

        console.note("note: learning from a teacher is now: ghostclas ssld distil --teacher ...")
        shortcuts = {
            "model.weights": weights,
            "schedule.epochs": epochs,
            "data.resolution": size,
            "loop.batch_size": batch_size,
            "optimizer.lr": lr,
            "loop.time": minutes(time) if time else None,
        }
        run = train_student(
            labeled=data,
            network=network,
            recipe=recipe,
            settings=[
                *(f"{key}={value}" for key, value in shortcuts.items() if value is not None),
                *(settings or ()),
            ],
            output=output,
            resume=going_on,
            quiet=False,
        )
    else:
        from ghostclas.training import train

        run = train(
            data,
            network=network,
            weights=weights,
            recipe=recipe,
            epochs=epochs,
            size=size,
            batch_size=batch_size,
            lr=lr,
            settings=settings or (),
            time=time,
            output=output,
            resume=going_on,
            quiet=False,
            began=began,
        )
    if os.environ.get("RANK", "0") != "0":
        # The first of several processes prints.
        return
    _print_run(run, as_json)


def _fast(data: str | None, weights: str | None, output: Path | None, others: Sequence[str]) -> Run:
    """Train the last layer alone.

    Raises:
        UsageError: options that only a training of the whole network has.
    """
    from ghostclas.errors import UsageError
    from ghostclas.training.head import train_head

    if others:
        raise UsageError(
            f"--fast trains one layer, and has no {', '.join(others)}; leave --fast out to train the network"
        )
    if data is None:
        raise UsageError("there is nothing to train on: give --data FOLDER")
    return train_head(data, weights=weights or "default", output=output, quiet=False)


def _print_run(run: Run, as_json: bool) -> None:
    if as_json:
        console.say_json(run.as_dict())
    else:
        console.say(run.summary())
    console.print_next("ghostclas", "predict", "--model", str(run.bundle), "PHOTO")


def _check_words(data: str | None, network: str | None, weights: str | None) -> None:
    """Refuse a URL or an unknown name before torch is imported, which takes seconds.

    Raises:
        UsageError, BundleError: as ``zoo.resolve_spec`` and ``zoo.locate``.
    """
    from ghostclas.errors import refuse_url
    from ghostclas.zoo import locate, resolve_spec

    if data is not None:
        refuse_url(data)
    if network is not None:
        resolve_spec(network)
    if weights is not None:
        locate(weights)
