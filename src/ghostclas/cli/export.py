"""``ghostclas export``: bundles from weights, and further formats in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say
from ghostclas.exporting.formats import FORMATS, named_formats
from ghostclas.progress import ProgressLine

if TYPE_CHECKING:
    from ghostclas.exporting.additions import FormatResult


def export_command(
    model: Annotated[
        str,
        typer.Option(help="A bundle, a run, a file of weights, the name of published ones, or timm:NAME."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="The bundle to write or replace; when absent, files are added to the model.",
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"Separated by commas, of: {', '.join(FORMATS)}.",
        ),
    ] = "onnx",
    precision: Annotated[str, typer.Option(help="How weights are stored: fp32, fp16 or int8.")] = "fp32",
    network: Annotated[
        str | None, typer.Option(help="The network of a file of weights; recognised when absent.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names for a file of weights, one a line.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="DIR", help="Labelled photos for int8: calibration and accuracy.")
    ] = None,
    smaller: Annotated[
        bool, typer.Option("--smaller", help="Keep accurate int8 even if it is not faster.")
    ] = False,
    paddle_legacy: Annotated[
        bool, typer.Option("--paddle-legacy", help="Write paddle as .pdmodel, for Paddle 2 and FastDeploy.")
    ] = False,
    softmax: Annotated[
        bool, typer.Option("--softmax", help="Give probabilities, in paddle_legacy and paddlelite.")
    ] = False,
    via: Annotated[
        str | None, typer.Option(metavar="TOOL", help="Make the onnx file by way of Paddle: paddle2onnx.")
    ] = None,
    opset: Annotated[int | None, typer.Option(help="Of --via paddle2onnx, 7 to 21.")] = None,
    targets: Annotated[str | None, typer.Option(help="Of paddlelite, separated by commas: arm, x86.")] = None,
) -> None:
    """Write a model as a bundle, and add files for other runtimes.

    Every file is compared with its network before it appears; a failure leaves no trace.
    """
    from ghostclas.exporting import export

    asked = {
        "softmax": "yes" if softmax else None,
        "targets": targets,
        "opset": None if opset is None else str(opset),
    }
    line = ProgressLine()

    def note_below(text: str) -> None:
        line.clear()
        note(text)

    def on_result(result: FormatResult) -> None:
        line.clear()
        _say_result(result)

    try:
        bundle = export(
            model,
            named_formats(formats, legacy=paddle_legacy, via=via),
            precision=precision,
            output=output,
            network=network,
            classes=classes,
            calibration=calibration,
            smaller=smaller,
            options={name: value for name, value in asked.items() if value is not None},
            say=note_below,
            step=line.phase,
            on_result=on_result,
        )
    finally:
        line.clear()
    if bundle.manifest.provenance.get("weights") == "random":
        note("its weights are random: measure speed and size with it; its labels mean nothing")
    print_next("ghostclas", "predict", "PHOTO_OR_FOLDER", "--model", str(bundle.path))


def _say_result(result: FormatResult) -> None:
    if result.error is not None:
        return
    sizes = {entry.path: entry.bytes for entry in result.bundle.manifest.files}
    megabytes = sum(sizes[path] for path in result.files) / 1e6
    answers = ", ".join(
        f"{parity.max_abs:.1g} through {parity.through}{'' if parity.ok else ' (not used)'}"
        for parity in result.compared
    )
    apart = f"logits differ by at most {answers}" if answers else "no runtime here can run it"
    say(f"{result.format}: {result.bundle.path / result.files[0]}  {megabytes:.2f} MB  {apart}")
