"""``ghostclas convert-config``: a training configuration of PaddleClas as a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghostclas.cli.console import note, print_next, say


def convert_config_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A classification YAML of PaddleClas.")],
    output: Annotated[
        Path | None, typer.Option(metavar="RECIPE.yaml", help="The recipe to write; stdout when absent.")
    ] = None,
) -> None:
    """Turn a training configuration of PaddleClas into a recipe.

    Every key is mapped, or named with what stands in its place.
    """
    from ghostclas.errors import UsageError
    from ghostclas.extras import require
    from ghostclas.training.paddle_config import convert_config

    made = convert_config(file)
    text = require("yaml", extra="train").safe_dump(made.recipe, sort_keys=False, default_flow_style=None)
    for source, target in made.mapped.items():
        note(f"{source} -> {target}")
    for source, instead in made.without.items():
        note(f"{source}: no counterpart; {instead}")
    note("note: the rate is for the stated batch and number of cards; loop.batch_size is that of one card")
    if output is None:
        say(text.rstrip("\n"))
        return
    if output.suffix not in (".yaml", ".yml"):
        raise UsageError(f"a recipe's name ends in .yaml: {output}")
    output.write_text(text, encoding="utf-8")
    print_next("ghostclas", "train", "--recipe", str(output), "--data", "FOLDER")
