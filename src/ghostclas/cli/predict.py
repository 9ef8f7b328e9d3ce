"""``ghostclas predict``: labels for photos."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json_text
from ghostclas.errors import DataError, MissingExtraError, UsageError
from ghostclas.files import is_file, is_folder
from ghostclas.progress import console_progress
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.prediction import PredictionFiles
    from ghostclas.spec import Prediction

FEW_PHOTOS = 100
"""Up to so many photos, an engine that starts 0.3 s sooner finishes sooner, however fast the others are."""

DEMO_PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


def predict_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...", help="Photos, folders, patterns, or - for a list of them on stdin."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A bundle, a run, a model name, or default.")] = "default",
    engine: Annotated[
        str,
        typer.Option(
            help="The runtime, or auto: the fastest installed; for a few photos, the fastest to start."
        ),
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16 or int8, if the model has several; bf16 if OpenVINO supports it."),
    ] = None,
    top: Annotated[int, typer.Option(help="The number of labels of each photo.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write predictions.jsonl and predictions.csv there.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="The number of cores; all when absent.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="The number of photos in a batch; 4, or 8 in bf16, when absent."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --output: label only photos without a prediction there.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Label the photographs of the extra 'demo'.")] = False,
) -> None:
    """Label photos.

    Prints the labels of each photo in the order given, best first. A photo that cannot be read is a result
    with an error in its place; the exit code is then 3.
    """
    from ghostclas.prediction import Classifier, PredictionFiles

    if resume and output is None:
        raise UsageError("--resume continues the predictions in a folder: add --output DIR")
    left_out: Counter[str] = Counter()
    images = _images(paths or [], left_out, demo=demo)
    done = failed = 0
    progress = None if sys.stdout.isatty() and not output else console_progress("photos")
    total = _counted(paths or []) if progress and not demo else None
    with (
        PredictionFiles(output, top, resume=resume) if output else nullcontext() as files,
        _kept(files),
        Classifier.load(
            model,
            engine=engine,
            precision=precision,
            threads=threads,
            batch_size=batch_size,
            optimize_for="startup" if _are_few(paths or []) else "throughput",
        ) as classifier,
    ):
        already = 0
        if files:
            files.require_model(classifier.bundle)
            already = files.count
            images = files.remaining(images)
        for prediction in classifier.stream(images, top):
            if as_json:
                say_json_text(prediction.model_dump_json())
            elif output is None:
                say(_text(prediction))
            if files:
                files.write(prediction)
            done += 1
            failed += prediction.error is not None
            if progress:
                # A count below the number done is no total: photos were added since.
                progress(done, total[0] if total and total[0] > done else None)
        if progress:
            progress(done, done)
        if not done and not already:
            why = f"; {_left_out(left_out)}" if left_out else ""
            raise DataError(f"there are no images in {', '.join(paths or []) or 'the list'}{why}")
    if left_out:
        note(_left_out(left_out))
    if output:
        count = f"{done} photo{'s' * (done != 1)}" + (f" after {already}" if already else "")
        note(f"{count}: {output / 'predictions.csv'}, {output / 'predictions.jsonl'}")
    if failed:
        raise DataError(f"{failed} of {done} photos could not be labelled; each result has its error")
    if demo:
        print_next("ghostclas", "predict", "PHOTO_OR_FOLDER")
    elif output is None:
        again = [*_few(paths or []), *(["--model", model] if model != "default" else [])]
        print_next("ghostclas", "predict", *again, "--output", "predictions", why="to keep the answers")
    else:
        print_next("ghostclas", "train", "--data", "FOLDER", why="for classes of your own")


@contextmanager
def _kept(files: PredictionFiles | None) -> Iterator[None]:
    """Tell after Ctrl-C how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        if files and files.count:
            note(f"stopped; {files.count} answers are kept: to continue, give the same command with --resume")
        raise


def _images(paths: list[str], left_out: Counter[str], *, demo: bool) -> Iterator[Path]:
    from ghostclas.prediction import find_images, read_list

    if not paths and not demo:
        raise UsageError("predict needs a photo, a folder, a pattern or - (or --demo to see it work)")
    return chain(
        map(Path, _demo_photos() if demo else ()),
        *(
            find_images(read_list(sys.stdin.buffer), literal=True, left_out=left_out)
            if path == "-"
            else find_images([path], left_out=left_out)
            for path in paths
        ),
    )


def _left_out(kinds: Counter[str]) -> str:
    # Importing ``data`` takes longer than labelling one photo.
    from ghostclas.data.filenames import describe_left_out

    return describe_left_out(kinds)


def _are_few(paths: list[str]) -> bool:
    return len(paths) <= FEW_PHOTOS and all(is_file(path) for path in paths)


def _counted(paths: list[str]) -> list[int]:
    """Return a list that will hold the number of photos, once a thread has counted them."""
    total: list[int] = []
    if "-" not in paths and any(is_folder(path) for path in paths):
        from threading import Thread

        from ghostclas.prediction import count_images

        Thread(target=lambda: total.append(count_images(paths)), name="ghostclas-count", daemon=True).start()
    return total


def _demo_photos() -> list[str]:
    # Found without importing scikit-image, which takes longer than labelling its photos.
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("--demo needs the photographs of scikit-image: pip install 'ghostclas[demo]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return [str(folder / name) for name in DEMO_PHOTOS]


def _few(paths: list[str]) -> list[str]:
    # A pattern expanded by the shell would fill the screen.
    return paths if len(paths) < 4 else ["PATH..."]


def _text(prediction: Prediction) -> str:
    lines = [printable(prediction.file or "-")]
    if prediction.error:
        lines.append(f"  error: {printable(prediction.error.message)}")
    if prediction.unknown:
        lines.append("  unknown; the nearest are")
    lines += [f"  {label.score:7.2%}  {printable(label.label)}" for label in prediction.top]
    return "\n".join(lines)
