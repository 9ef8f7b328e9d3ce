"""``ghostclas predict``: labels for photos."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.asked_photos import AskedPhotos
from ghostclas.cli.console import note, print_next
from ghostclas.cli.making import Making
from ghostclas.cli.showing import Showing
from ghostclas.cli.sorting import asked_order, undo_sort
from ghostclas.errors import DataError

if TYPE_CHECKING:
    from ghostclas.prediction import Classifier, Sorting
    from ghostclas.spec import Prediction


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
    with an error in its place; the exit code is then 3. With --output, --report or --sort, only counts and
    the first errors are printed.
    """
    if undo is not None:
        undo_sort(undo, alone=not paths and sort is None)
        return
    from ghostclas.prediction import Classifier

    order = asked_order(sort, min_score, copy=copy, move=move, link=link)
    making = Making(output=output, report=report, order=order, top=top, resume=resume, excel=excel)
    photos = AskedPhotos(paths or [], demo=demo)
    making.check_apart(photos.paths)

    def load() -> Classifier:
        return Classifier.load(
            model,
            engine=engine,
            precision=precision,
            threads=threads,
            batch_size=batch_size,
            optimize_for="startup" if photos.are_few else "throughput",
        )

    with making.gallery(model):
        labelled = _label(photos, making, Showing(as_json=as_json, to_files=making.anything), load, top)
    _close(labelled, photos, making, model)


@dataclass
class _Labelled:
    """What became of the photos."""

    done: int = 0
    failed: int = 0
    sorting: Sorting | None = None


def _label(
    photos: AskedPhotos, making: Making, showing: Showing, load: Callable[[], Classifier], top: int
) -> _Labelled:
    """Label the photos, show each answer, and make of it what was asked for.

    Raises:
        DataError: there are no photos.
    """
    labelled = _Labelled()
    images = photos.images()
    if showing.counts:
        showing.total = photos.counted()
    with making.files(), load() as classifier:
        for photo, prediction in _answers(classifier, making.wanted(images, classifier), making, top):
            labelled.done += 1
            labelled.failed += prediction.error is not None
            showing.answer(prediction, labelled.done)
            making.add(photo, prediction)
        showing.end(labelled.done)
        if not labelled.done and not making.already:
            raise photos.none_found()
        making.read_earlier()
    labelled.sorting = making.finish(classifier)
    return labelled


def _answers(
    classifier: Classifier, images: Iterable[Path], making: Making, top: int
) -> Iterator[tuple[Path, Prediction]]:
    """Yield each photo with its answer; the photos are read ahead of the answers."""
    taken: deque[Path] = deque()

    def noted() -> Iterator[Path]:
        for image in images:
            taken.append(image)
            yield image

    for prediction in classifier.stream(noted(), top, watch=making.watch):
        yield taken.popleft(), prediction


def _close(labelled: _Labelled, photos: AskedPhotos, making: Making, model: str) -> None:
    """Say where everything is and what is next.

    Raises:
        DataError: some photos could not be labelled or sorted.
    """
    output, report, sort = making.output, making.report, making.order and making.order.folder
    done, already, sorting = labelled.done, making.already, labelled.sorting
    if photos.left_out:
        note(photos.left_out)
    count = f"{done} photo{'s' * (done != 1)}" + (f" after {already}" if already else "")
    if output:
        note(f"{count}: {output / 'predictions.csv'}, {output / 'predictions.jsonl'}")
    if report:
        note(f"{count}: {report / 'index.html'}")
        print_next(str(report / "index.html"), why="open")
    if sort:
        print_next("ghostclas", "predict", "--undo", str(sort), why="to take it back")
    if labelled.failed:
        kept = "each result has its error" if output or report or not sort else "they stay where they are"
        raise DataError(f"{labelled.failed} of {done} photos could not be labelled; {kept}")
    if sorting and sorting.failed:
        raise DataError(f"{len(sorting.failed)} of {done + already} photos could not be put into {sort}")
    if photos.demo:
        print_next("ghostclas", "predict", "PHOTO_OR_FOLDER")
    elif output is None and not sort and not report:
        again = [*photos.words, *(["--model", model] if model != "default" else [])]
        print_next("ghostclas", "predict", *again, "--output", "predictions", why="to keep the answers")
    elif not sort and not report:
        print_next("ghostclas", "train", "--data", "FOLDER", why="for classes of your own")
