"""``ghostclas export``: a bundle from weights, another file for a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ghostclas.cli.console import print_next, say
from ghostclas.errors import UsageError, did_you_mean

FORMATS = ("onnx",)
PRECISIONS = ("fp32", "fp16")


def export_command(
    model: Annotated[
        str, typer.Option(help="A bundle, a run, a file of weights, or the name of published ones.")
    ],
    output: Annotated[
        Path, typer.Option(metavar="BUNDLE", help="The bundle to write; one there is replaced.")
    ],
    formats: Annotated[
        str, typer.Option("--format", help=f"What to write, separated by commas: {', '.join(FORMATS)}.")
    ] = "onnx",
    precision: Annotated[str, typer.Option(help=f"{' or '.join(PRECISIONS)}.")] = "fp32",
    network: Annotated[
        str | None, typer.Option(help="The network a file of weights is for; recognised when absent.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names for a file of weights, one a line.")
    ] = None,
) -> None:
    """Write a model as a bundle, ready for predict, eval and serving.

    The file is compared with the network it was made of before the bundle appears.
    """
    from ghostclas.extras import require

    for chosen in formats.split(","):
        if chosen not in FORMATS:
            near = did_you_mean(chosen, FORMATS)
            raise UsageError(f"there is no format {chosen!r}{near or '; there is: ' + ', '.join(FORMATS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    require("torch", extra="export")
    from ghostclas.export.onnx import export_bundle
    from ghostclas.export.sources import open_trained

    trained = open_trained(model, network=network, classes=classes)
    bundle = export_bundle(
        trained.model,
        trained.spec,
        trained.classes,
        trained.preprocess,
        output,
        precision=precision,
        postprocess=trained.postprocess,
        metrics=trained.metrics,
        provenance=trained.provenance,
    )
    for entry in bundle.manifest.files:
        say(f"{output / entry.path}  {entry.bytes / 1e6:.2f} MB")
    print_next("ghostclas", "predict", "PHOTO_OR_FOLDER", "--model", str(output))
