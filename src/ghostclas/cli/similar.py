"""``ghostclas similar``: the photos of a folder that are most like a photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json_text, warn
from ghostclas.cli.evaluate import EngineOption, ThreadsOption
from ghostclas.errors import DataError
from ghostclas.progress import console_progress
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.prediction.similar import Neighbours


def similar_command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Photos, folders or patterns.")],
    folder: Annotated[
        Path,
        typer.Option(
            "--in", metavar="DIR|ZIP", help="Where to look: photos in folders, best one a label, or a .zip."
        ),
    ],
    model: Annotated[str, typer.Option(help="A bundle, a run, a model name, or default.")] = "default",
    top: Annotated[int, typer.Option(help="The number of similar photos of each photo.")] = 5,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Find the photos of a folder that are most like a photo.

    Prints the cosine of the model's features, 1 for equal photos, and the label and the path of each. The
    folder's features are kept in the cache folder and only computed again for what changed.
    """
    from ghostclas.prediction import Classifier, find_images
    from ghostclas.prediction.answers import check_top
    from ghostclas.prediction.similar import PhotoIndex

    check_top(top)
    done = failed = 0
    with Classifier.load(model, engine=engine, threads=threads) as classifier:
        index = PhotoIndex.open(classifier, folder, progress=console_progress("photos"))
        note(f"{len(index.files):,} photos in {folder}, {index.computed:,} of them new or changed")
        if index.bad:
            key, error = next(iter(index.bad.items()))
            more = f", and {len(index.bad) - 1:,} more" if len(index.bad) > 1 else ""
            warn(f"left out: {key}: {error.message}{more}")
        if index.unkept:
            warn(f"the index is not kept: {index.unkept}")
        for neighbours in index.nearest(find_images(paths), top):
            done += 1
            failed += neighbours.error is not None
            if as_json:
                say_json_text(neighbours.model_dump_json())
            else:
                say(_text(neighbours))
    if not done:
        raise DataError(f"there are no images in {', '.join(paths)}")
    if failed:
        raise DataError(f"{failed} of {done} photos could not be read; each result has its error")
    again = [*(paths if len(paths) < 4 else ["PATH..."]), *(["--model", model] if model != "default" else [])]
    print_next("ghostclas", "explain", *again, why="where in the photo the reason for its label is")


def _text(neighbours: Neighbours) -> str:
    lines = [printable(neighbours.file or "-")]
    if neighbours.error:
        lines.append(f"  error: {printable(neighbours.error.message)}")
    widest = max((len(photo.label or "-") for photo in neighbours.similar), default=0)
    lines += [
        f"  {photo.similarity:6.3f}  {printable((photo.label or '-').ljust(widest))}  {printable(photo.file)}"
        for photo in neighbours.similar
    ]
    return "\n".join(lines)
