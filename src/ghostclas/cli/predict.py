"""``ghostclas predict``: labels for photos."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from ghostclas.cli.console import bar, fancy, note, print_next, say, say_json_text, say_styled, table
from ghostclas.errors import DataError, MissingExtraError, UsageError
from ghostclas.files import is_file, is_folder
from ghostclas.processor import usable_cores
from ghostclas.progress import console_progress
from ghostclas.terminal import printable

if TYPE_CHECKING:
    from ghostclas.prediction import Gallery, PredictionFiles, Sorting
    from ghostclas.prediction.placing import How
    from ghostclas.spec import Prediction

NAMED = 5
"""Of so many files a line each says why they stay where they are."""

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
    excel: Annotated[
        bool, typer.Option("--excel", help="With --output: a predictions.csv that Excel opens in UTF-8.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="The number of cores; all when absent.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="The number of photos in a batch; 4, or 8 in bf16, when absent."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --output: label only photos without a prediction there.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a page there: photos by label, the least certain first."),
    ] = None,
    sort: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy each photo into DIR/LABEL, or into DIR/unsure."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="With --sort: copy the photos; the default.")] = False,
    move: Annotated[bool, typer.Option("--move", help="With --sort: move the photos.")] = False,
    link: Annotated[bool, typer.Option("--link", help="With --sort: make links to the photos.")] = False,
    min_score: Annotated[
        float | None,
        typer.Option(help="With --sort: photos with a lower score go to DIR/unsure; 0.5 when absent."),
    ] = None,
    undo: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Take back a --sort, given its folder or its sorted.csv."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Label the photographs of the extra 'demo'.")] = False,
) -> None:
    """Label photos.

    Prints the labels of each photo in the order given, best first. A photo that cannot be read is a result
    with an error in its place; the exit code is then 3. With --output, --report or --sort, only counts are
    printed.
    """
    if undo is not None:
        _undo(undo, alone=not paths and sort is None)
        return
    from ghostclas.prediction import Classifier, PredictionFiles
    from ghostclas.prediction.explanation import Explainer

    order = _order(sort, min_score, copy=copy, move=move, link=link)
    if resume and output is None:
        raise UsageError("--resume continues the predictions in a folder: add --output DIR")
    if excel and output is None:
        raise UsageError("--excel is for the table of predictions: add --output DIR")
    left_out: Counter[str] = Counter()
    images = _images(paths or [], left_out, demo=demo)
    if made := [folder for folder in (report, sort) if folder]:
        _check_apart(paths or [], output, report, sort)
        images = _outside(images, made)
    done = failed = 0
    to_folder = bool(output or made)
    on_terminal = fancy()
    progress = None if sys.stdout.isatty() and not to_folder else console_progress("photos")
    total = _counted(paths or []) if progress and not demo else None
    kept: list[tuple[Path, Prediction]] = []
    with _gallery(report, model) as gallery:
        with (
            PredictionFiles(output, top, resume=resume, excel=excel) if output else nullcontext() as files,
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
            taken: deque[Path] = deque()
            watch = gallery.keep if gallery else None
            for prediction in classifier.stream(_noting(images, taken), top, watch=watch):
                photo = taken.popleft()
                if as_json:
                    say_json_text(prediction.model_dump_json())
                elif not to_folder:
                    say_styled(_text(prediction, fancy=on_terminal))
                if files:
                    files.write(prediction)
                if made:
                    kept.append((photo, prediction))
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
            earlier = list(files.earlier(already)) if files and made else []
        if gallery:
            for photo, prediction in kept:
                gallery.add(photo, prediction)
            gallery.add_labelled(earlier, classifier.preprocess, threads=usable_cores())
            gallery.explain(Explainer(classifier.bundle), threads=usable_cores())
        sorting = _sort([*earlier, *kept], order, classifier.classes) if order else None
        if gallery and sorting and sorting.how == "move":
            gallery.moved = sorting.placed
    if left_out:
        note(_left_out(left_out))
    count = f"{done} photo{'s' * (done != 1)}" + (f" after {already}" if already else "")
    if output:
        note(f"{count}: {output / 'predictions.csv'}, {output / 'predictions.jsonl'}")
    if report:
        note(f"{count}: {report / 'index.html'}")
    if sort:
        print_next("ghostclas", "predict", "--undo", str(sort), why="to take it back")
    if failed:
        raise DataError(f"{failed} of {done} photos could not be labelled; each result has its error")
    if sorting and sorting.failed:
        raise DataError(f"{len(sorting.failed)} of {done + already} photos could not be put into {sort}")
    if demo:
        print_next("ghostclas", "predict", "PHOTO_OR_FOLDER")
    elif report:
        print_next(str(report / "index.html"), why="open")
    elif output is None and not sort:
        again = [*_few(paths or []), *(["--model", model] if model != "default" else [])]
        print_next("ghostclas", "predict", *again, "--output", "predictions", why="to keep the answers")
    elif not sort:
        print_next("ghostclas", "train", "--data", "FOLDER", why="for classes of your own")


class _Order(NamedTuple):
    """How photos are sorted, and where to."""

    folder: Path
    how: How
    min_score: float


def _order(folder: Path | None, min_score: float | None, **chosen: bool) -> _Order | None:
    """Return what ``--sort`` asks for, checked; ``chosen`` are ``--copy``, ``--move`` and ``--link``."""
    given = [name for name, wanted in chosen.items() if wanted]
    if len(given) > 1:
        raise UsageError(f"give one of {' and '.join(f'--{name}' for name in given)}")
    if folder is None:
        if given or min_score is not None:
            option = f"--{given[0]}" if given else "--min-score"
            raise UsageError(f"{option} says how photos are sorted: add --sort DIR")
        return None
    from ghostclas.prediction import check_sorting
    from ghostclas.prediction.sorting import MIN_SCORE

    how = cast("How", given[0] if given else "copy")
    order = _Order(folder, how, MIN_SCORE if min_score is None else min_score)
    check_sorting(folder, how=order.how, min_score=order.min_score)
    return order


@contextmanager
def _gallery(folder: Path | None, model: str) -> Iterator[Gallery | None]:
    """Open the gallery of ``--report``, which appears when the block ends."""
    if folder is None:
        yield None
        return
    from ghostclas.prediction import Gallery
    from ghostclas.zoo import locate

    with Gallery(folder, model=locate(model).name) as gallery:
        yield gallery


def _check_apart(paths: Sequence[str], output: Path | None, report: Path | None, sort: Path | None) -> None:
    """Refuse folders of which one would replace or take in what is in another."""
    for option, folder in (("--output", output), ("--sort", sort)):
        if report and folder and _is_inside(folder, report):
            raise UsageError(
                f"--report replaces all of {report}, and {option} {folder} is in it: name another"
            )
    for path in paths:
        if sort and _is_inside(path, sort):
            raise UsageError(f"the photos of {path} are in {sort} already; name another folder with --sort")


def _is_inside(path: str | os.PathLike[str], folder: Path) -> bool:
    """Whether a path is the folder itself or in it; links are followed, where there are any."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _outside(images: Iterable[Path], folders: Sequence[Path]) -> Iterator[Path]:
    """Leave out photos in the folders that this command writes, as of an earlier time."""
    inside = tuple(os.path.join(os.path.abspath(folder), "") for folder in folders)  # noqa: PTH100, PTH118
    return (image for image in images if not os.path.abspath(image).startswith(inside))  # noqa: PTH100


def _noting(images: Iterable[Path], taken: deque[Path]) -> Iterator[Path]:
    for image in images:
        taken.append(image)
        yield image


def _sort(answers: Sequence[tuple[Path, Prediction]], order: _Order, classes: Sequence[str]) -> Sorting:
    from ghostclas.prediction import sort_photos
    from ghostclas.prediction.sorting import UNSURE

    folder, how, min_score = order
    progress = console_progress("photos sorted")
    try:
        sorting = sort_photos(answers, folder, classes, how=how, min_score=min_score, progress=progress)
    except KeyboardInterrupt:
        note(f"stopped; to take back what is in {folder}: ghostclas predict --undo {folder}")
        raise
    if sorting.folders:
        rows = sorted(sorting.folders.items(), key=lambda item: (item[0] == UNSURE, -item[1], item[0]))
        did = {"copy": "copied", "move": "moved", "link": "linked"}[how]
        say(table(["folder", did], [[name, f"{count:,}"] for name, count in rows], right=(1,)))
    if sorting.already:
        note(f"{sorting.already:,} photos are in {folder} already, as {sorting.record} says; they stay there")
    for path, why in sorting.failed[:NAMED]:
        note(f"{path} stays where it is: {why}")
    if len(sorting.failed) > NAMED:
        note(f"and {len(sorting.failed) - NAMED:,} more")
    return sorting


def _undo(path: Path, *, alone: bool) -> None:
    from ghostclas.prediction import undo_sorting

    if not alone:
        raise UsageError("--undo takes a sorting back and labels nothing: give it alone")
    undoing = undo_sorting(path)
    for target, why in undoing.kept[:NAMED]:
        note(f"{target} stays: {why}")
    if len(undoing.kept) > NAMED:
        note(f"and {len(undoing.kept) - NAMED:,} more")
    say(f"{undoing.undone:,} taken back, {len(undoing.kept):,} kept")
    if undoing.kept:
        raise DataError(f"{len(undoing.kept):,} files stay as they are, and in the list")


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


def _text(prediction: Prediction, *, fancy: bool) -> str:
    lines = [printable(prediction.file or "-")]
    if prediction.error:
        lines.append(f"  error: {printable(prediction.error.message)}")
    if prediction.unknown:
        lines.append("  unknown; the nearest are")
    for rank, label in enumerate(prediction.top):
        name = printable(label.label)
        if fancy:
            name = f"{bar(label.score)}  {name if rank else typer.style(name, bold=True)}"
        lines.append(f"  {label.score:7.2%}  {name}")
    return "\n".join(lines)
