"""``ghostclas explain``: where in a photo the reason for its label is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json
from ghostclas.errors import DataError, ImageError, UsageError
from ghostclas.files import check_folder, write_bytes
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.prediction.explanation import Explanation

_PICTURE = ".png"
_FORMATS = {_PICTURE: "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def explain_command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Photos, folders or patterns.")],
    model: Annotated[str, typer.Option(help="A bundle, a run, a model name, or default.")] = "default",
    label: Annotated[
        str | None, typer.Option(help="The class to look for; the best one of each photo when absent.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="Write the photo with its heat there, as PNG, or to a .jpg."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the heat.")] = False,
) -> None:
    """Show where in a photo the reason for its label is.

    Grad-CAM: yellow marks what speaks most for the label. A photo that cannot be read is a result with an
    error in its place; the exit code is then 3.
    """
    from ghostclas.image_files import EXTENSIONS
    from ghostclas.prediction import find_images
    from ghostclas.prediction.explanation import Explainer
    from ghostclas.zoo import locate

    photos = list(find_images(paths))
    if not photos:
        raise DataError(f"there are no images in {', '.join(paths)}")
    kind = output.suffix.lower() if output else ""
    if kind in EXTENSIONS and kind not in _FORMATS:
        raise UsageError(f"{output}: pictures are written as {' or '.join(_FORMATS)}, not as {kind}")
    if kind in _FORMATS and len(photos) > 1:
        raise UsageError(
            f"{output} is one picture, and there are {len(photos)} photos: give --output a folder"
        )
    if output and kind not in _FORMATS:
        check_folder(output, option="--output")
    explainer = Explainer(locate(model).bundle())
    failed = 0
    for photo, target in zip(photos, _targets(photos, output), strict=True):
        name = printable(str(photo))
        try:
            explanation = explainer.explain(photo, label, file=name)
        except ImageError as error:
            failed += 1
            problem = {"code": error.code, "message": printable(str(error))}
            if as_json:
                say_json({"file": name, "error": problem})
            else:
                say(f"{name}\n  error: {problem['message']}")
            continue
        if target:
            _write(target, explanation.encoded(_FORMATS[target.suffix.lower()]))
        if as_json:
            say_json({**explanation.as_dict(), "error": None, "output": target and str(target)})
        else:
            say(_text(explanation, target))
    if failed:
        raise DataError(f"{failed} of {len(photos)} photos could not be explained; each result has its error")
    if output is None:
        again = [
            *(paths if len(paths) < 4 else ["PATH..."]),
            *(["--model", model] if model != "default" else []),
        ]
        target_name = "explained.png" if len(photos) == 1 else "explained"
        print_next("ghostclas", "explain", *again, "--output", target_name, why="to see it")
    else:
        note(f"open: {output}")


def _targets(photos: list[Path], output: Path | None) -> list[Path | None]:
    """Return where each picture is written; photos of one name in several folders get numbers."""
    if output is None:
        return [None] * len(photos)
    if output.suffix.lower() in _FORMATS:
        return [output]
    targets: dict[str, Path] = {}
    for photo in photos:
        number = 1
        name = f"{photo.name}.explained{_PICTURE}"
        while name.casefold() in targets:
            number += 1
            name = f"{photo.name}.{number}.explained{_PICTURE}"
        targets[name.casefold()] = output / name
    return list(targets.values())


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None


def _text(explanation: Explanation, target: Path | None) -> str:
    marked = explanation.marked
    where = "nothing in the photo speaks for it"
    if marked is not None:
        left, top, right, bottom = (f"{100 * part:.0f}" for part in marked)
        where = f"mostly from {left} to {right} % of the width and {top} to {bottom} % of the height"
    lines = [
        explanation.file or "-",
        f"  {explanation.label.score:7.2%}  {printable(explanation.label.label)}: {where}",
    ]
    return "\n".join([*lines, f"  {target}"] if target else lines)
