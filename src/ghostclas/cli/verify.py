"""``ghostclas verify``: a bundle's files against its stored answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json_text, table
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.bundle import FileParity

HEADER = ("file", "engine", "images", "max difference", "allowed", "best class equal", "")


def verify_command(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle, a run, or default.")],
    data: Annotated[
        str | None, typer.Option(help="Photos on which the engines are compared with each other, too.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--record", help="Write the result into the bundle's manifest and parity.json.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Check every file of a bundle against its stored answers.

    Every installed engine runs the files that it can. Neither the training framework nor data is needed.
    Differences are between logits.
    """
    from ghostclas.api import verify
    from ghostclas.evaluation import check_writable
    from ghostclas.verification import record
    from ghostclas.zoo import locate

    bundle = locate(model).bundle()
    if keep:
        check_writable(bundle)
    report = verify(bundle, data, strict=False)
    if as_json:
        say_json_text(report.model_dump_json())
    else:
        levels = f"{report.max_pixel_difference} of 256 levels ({report.pixel_tolerance} allowed)"
        name = printable(report.bundle)
        say(f"{name}: every file has its size and checksum; pixels differ by at most {levels}")
        say(table(HEADER, [_row(result) for result in (*report.files, *report.photos)], right=range(2, 6)))
        for line in report.skipped:
            note(f"not run here: {line}")
    # What was found is shown also if the disk does not take it.
    if keep:
        record(bundle, report)
    report.require_ok()
    print_next("ghostclas", "predict", "PHOTO_OR_FOLDER", "--model", model)


def _row(result: FileParity) -> tuple[str, ...]:
    return (
        result.file,
        result.through,
        str(result.images),
        f"{result.max_abs:.2g}",
        f"{result.tolerance:g}",
        f"{result.top1_agreement:.1%}",
        "ok" if result.ok else "not used" if result.arithmetic else "WRONG",
    )
