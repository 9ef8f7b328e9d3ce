"""What ``ghostclas predict`` makes of its answers beside their lines: a table, a gallery, sorted folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ghostclas.cli.console import note
from ghostclas.cli.sorting import Order, sort_answers
from ghostclas.errors import UsageError
from ghostclas.processor import usable_cores

if TYPE_CHECKING:
    from ghostclas.prediction import Classifier, Gallery, PredictionFiles, Sorting
    from ghostclas.prediction.classifier import Watch
    from ghostclas.spec import Prediction

Answer = tuple[Path, "Prediction"]


class Making:
    """The files of ``--output``, the gallery of ``--report``, the folders of ``--sort``: those asked for."""

    def __init__(
        self,
        *,
        output: Path | None,
        report: Path | None,
        order: Order | None,
        top: int,
        resume: bool,
        excel: bool,
    ) -> None:
        """Name what is made.

        Raises:
            UsageError: options that mean nothing without another.
        """
        if resume and output is None:
            raise UsageError("--resume continues the predictions in a folder: add --output DIR")
        if excel and output is None:
            raise UsageError("--excel is for the table of predictions: add --output DIR")
        self.output, self.report, self.order = output, report, order
        self._top, self._resume, self._excel = top, resume, excel
        self._files: PredictionFiles | None = None
        self._gallery: Gallery | None = None
        self._answers: list[Answer] = []
        self._earlier: list[Answer] = []
        self.already = 0
        """The number of photos that were answered in an earlier run."""

    @property
    def anything(self) -> bool:
        """Whether answers go anywhere but to stdout."""
        return bool(self.output or self._folders)

    @property
    def watch(self) -> Watch | None:
        """What sees each photo as the network does."""
        return self._gallery.keep if self._gallery else None

    @property
    def _folders(self) -> list[Path]:
        return [folder for folder in (self.report, self.order and self.order.folder) if folder]

    def check_apart(self, paths: Sequence[str]) -> None:
        """Refuse folders of which one would replace or take in what is in another, or the photos themselves.

        Raises:
            UsageError: there are such.
        """
        sort = self.order and self.order.folder
        for option, folder in (("--output", self.output), ("--sort", sort)):
            if self.report and folder and _is_inside(folder, self.report):
                raise UsageError(
                    f"--report replaces all of {self.report}, and {option} {folder} is in it: name another"
                )
        for path in paths:
            if sort and _is_inside(path, sort):
                raise UsageError(
                    f"the photos of {path} are in {sort} already; name another folder with --sort"
                )

    @contextmanager
    def gallery(self, model: str) -> Iterator[None]:
        """Open the gallery, which appears when the block ends."""
        if self.report is None:
            yield
            return
        from ghostclas.prediction import Gallery
        from ghostclas.zoo import locate

        with Gallery(self.report, model=locate(model).name) as self._gallery:
            yield

    @contextmanager
    def files(self) -> Iterator[None]:
        """Open the files of answers; after Ctrl-C, say how to continue them."""
        if self.output is None:
            yield
            return
        from ghostclas.prediction import PredictionFiles

        with PredictionFiles(self.output, self._top, resume=self._resume, excel=self._excel) as files:
            self._files = files
            try:
                yield
            except KeyboardInterrupt:
                if files.count:
                    note(
                        f"stopped; {files.count} answers are kept: "
                        "to continue, give the same command with --resume"
                    )
                raise

    def wanted(self, images: Iterator[Path], classifier: Classifier) -> Iterator[Path]:
        """Return the photos that are still to be labelled, by this classifier.

        Raises:
            UsageError: earlier answers are those of another model.
        """
        if self._folders:
            images = _outside(images, self._folders)
        if self._files:
            self._files.require_model(classifier.bundle)
            self.already = self._files.count
            images = self._files.remaining(images)
        return images

    def add(self, photo: Path, prediction: Prediction) -> None:
        """Take one answer.

        Raises:
            UsageError: it cannot be written.
        """
        if self._files:
            self._files.write(prediction)
        if self._folders:
            self._answers.append((photo, prediction))

    def read_earlier(self) -> None:
        """Read the answers of earlier runs, where the gallery or the folders need them."""
        if self._files and self._folders:
            self._earlier = list(self._files.earlier(self.already))

    def finish(self, classifier: Classifier) -> Sorting | None:
        """Fill the gallery and sort the photos; the classifier may be closed."""
        gallery = self._gallery
        if gallery:
            from ghostclas.prediction.explanation import Explainer

            for photo, prediction in self._answers:
                gallery.add(photo, prediction)
            gallery.add_labelled(self._earlier, classifier.preprocess, threads=usable_cores())
            gallery.explain(Explainer(classifier.bundle), threads=usable_cores())
        if not self.order:
            return None
        sorting = sort_answers([*self._earlier, *self._answers], self.order, classifier.classes)
        if gallery and sorting.how == "move":
            gallery.moved = sorting.placed
        return sorting


def _is_inside(path: str | os.PathLike[str], folder: Path) -> bool:
    """Whether a path is the folder itself or in it; links are followed, where there are any."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _outside(images: Iterable[Path], folders: Sequence[Path]) -> Iterator[Path]:
    """Leave out photos in the folders that this command writes, as of an earlier time."""
    inside = tuple(os.path.join(os.path.abspath(folder), "") for folder in folders)  # noqa: PTH100, PTH118
    return (image for image in images if not os.path.abspath(image).startswith(inside))  # noqa: PTH100
