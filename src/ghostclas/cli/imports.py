"""``ghostclas import``: models of other toolkits as bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghostclas.cli.console import note, print_next, say


def import_command(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder with inference.json or .pdmodel, and .pdiparams."),
    ],
    output: Annotated[Path, typer.Option(metavar="BUNDLE", help="The bundle to write or replace.")],
    source: Annotated[str, typer.Option("--from", help="The toolkit that exported it: paddle.")] = "paddle",
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line or behind their numbers.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The preprocessing; DIR/inference.yml when absent.")
    ] = None,
) -> None:
    """Wrap an exported classifier of PaddleClas into a bundle.

    It is converted to ONNX and compared with Paddle Inference before the bundle appears.
    """
    from ghostclas.errors import UsageError
    from ghostclas.exporting.paddle_import import import_paddle_model

    if source != "paddle":
        raise UsageError(f"models are imported from paddle, not from {source!r}")
    bundle = import_paddle_model(directory, output, labels=labels, config=config)
    (parity,) = bundle.manifest.parity
    say(
        f"{bundle.path}: {len(bundle.classes)} classes, logits differ by at most {parity.max_abs:.1g} "
        f"through {parity.through}"
    )
    note(f"preprocessing: {bundle.manifest.provenance['preprocessing']}")
    print_next("ghostclas", "predict", "PHOTO_OR_FOLDER", "--model", str(bundle.path))
