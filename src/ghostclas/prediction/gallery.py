"""A gallery of labelled photos: a page that groups them by label, the least certain first.

A gallery is a folder with ``index.html``, ``thumbnails/`` and ``gallery.json``, the counts for programs. The
page loads a thumbnail when it is scrolled to, so that it stays quick with thousands of photos.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ghostclas.errors import BundleError, ImageError, UsageError
from ghostclas.files import is_folder, replacing_folder
from ghostclas.imaging import preprocess
from ghostclas.pages import check_report_folder, render
from ghostclas.prediction.explanation import Explainer
from ghostclas.spec import Prediction, PreprocessSpec

PAGE, COUNTS, THUMBNAILS = "index.html", "gallery.json", "thumbnails"
SIDE = 224
"""The largest side of a thumbnail in pixels."""
EXPLAINED = 100
"""So many photos, the least certain, are explained; each is decoded and computed once more."""

_TEMPLATE = Path(__file__).with_name("pages") / "gallery.html.jinja"
_MARK = b'<meta name="generator" content="ghostclas">'
_QUALITY = 78
_IN_A_FOLDER = 1000
_STEPS = 15
"""The heat of a place is one hexadecimal digit."""
_OTHERS = 2
"""So many labels beside the best one are shown."""


@dataclass(frozen=True)
class Shown:
    """One photo of a gallery. ``number`` names its thumbnail; a photo that cannot be read has none."""

    path: Path
    prediction: Prediction
    number: int


class Gallery:
    """The gallery in ``folder``. A context manager: the folder appears, whole, when the block ends.

    An earlier gallery there is replaced. If the block raises or the process dies, the folder is as it was.

        from ghostclas.prediction import Classifier, Gallery, find_images

        with Gallery("gallery", model="flowers") as gallery, Classifier.load("runs/flowers") as classifier:
            photos = list(find_images(["photos"]))
            for photo, prediction in zip(photos, classifier.stream(photos, watch=gallery.keep)):
                gallery.add(photo, prediction)
    """

    def __init__(self, folder: str | os.PathLike[str], *, model: str) -> None:
        self._target = Path(folder)
        self._model = model
        self._photos: list[Shown] = []
        self._kept: set[int] = set()
        self._heat: dict[int, Sequence[str]] = {}
        self._stack = ExitStack()
        self.moved: Mapping[Path, Path] = {}
        """Where photos are now that are not where they were when they were added."""

    def __enter__(self) -> Self:
        """Open a folder beside the target.

        Raises:
            UsageError: as :func:`check_gallery`.
            MissingExtraError: jinja2 is not installed.
        """
        check_gallery(self._target)
        try:
            self._folder = self._stack.enter_context(replacing_folder(self._target, durable=False))
            (self._folder / THUMBNAILS).mkdir()
        except OSError as error:
            raise self._cannot_write(error) from None
        return self

    def keep(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Write the thumbnail of the photo that is added as ``number``: its pixels as the network sees them.

        Args:
            number: the position of the photo, from 0.
            pixels: uint8 ``[H, W, 3]``, RGB.
        """
        path = self._folder / _thumbnail(number)
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(pixels)
        image.thumbnail((SIDE, SIDE))
        image.save(path, "JPEG", quality=_QUALITY)
        self._kept.add(number)

    def add_labelled(
        self, photos: Iterable[tuple[Path, Prediction]], spec: PreprocessSpec, *, threads: int = 1
    ) -> None:
        """Add photos that were labelled earlier. They are decoded again, for their thumbnails alone.

        Args:
            photos: their paths and predictions.
            spec: the model's preprocessing.
            threads: how many photos are decoded at once.
        """
        from concurrent.futures import ThreadPoolExecutor

        start = len(self._photos)
        for path, prediction in photos:
            self.add(path, prediction)

        def keep(photo: Shown) -> None:
            # A photo that is gone since has its labels all the same.
            with suppress(ImageError):
                self.keep(photo.number, preprocess(photo.path, spec))

        with ThreadPoolExecutor(threads, thread_name_prefix="ghostclas-thumbnail") as pool:
            list(pool.map(keep, (photo for photo in self._photos[start:] if not photo.prediction.error)))

    def add(self, path: Path, prediction: Prediction) -> None:
        """Add the photo at ``path``; its number is the count of those before it."""
        self._photos.append(Shown(path, prediction, len(self._photos)))

    def explain(self, explainer: Explainer, count: int = EXPLAINED, *, threads: int = 1) -> int:
        """Add to the ``count`` least certain photos what speaks for their label, as the page can show it.

        They are decoded again, ``threads`` at once. Nothing is added where the network does not end in a
        pooled feature map.

        Returns:
            How many photos were explained.
        """
        from concurrent.futures import ThreadPoolExecutor

        shown = [photo for photo in self._photos if photo.number in self._kept and photo.prediction.top]
        shown.sort(key=lambda photo: photo.prediction.top[0].score)

        def add_heat(photo: Shown) -> None:
            # A photo that is gone since has its labels all the same.
            with suppress(ImageError):
                pixels = preprocess(photo.path, explainer.bundle.preprocess)
                self._heat[photo.number] = _digits(explainer.heat(pixels, photo.prediction.top[0].index))

        with (
            suppress(BundleError),
            ThreadPoolExecutor(threads, thread_name_prefix="ghostclas-explanation") as pool,
        ):
            list(pool.map(add_heat, shown[:count]))
        return len(self._heat)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write()
        except BaseException as problem:
            self._stack.__exit__(type(problem), problem, problem.__traceback__)
            if isinstance(problem, OSError):
                raise self._cannot_write(problem) from None
            raise
        try:
            self._stack.__exit__(kind, error, trace)
        except OSError as problem:
            if problem is error:
                raise
            raise self._cannot_write(problem) from None

    def _write(self) -> None:
        # What came into the folder since would be gone with the gallery that is replaced.
        check_gallery(self._target)
        names = sorted({best.label for photo in self._photos for best in photo.prediction.top})
        index = {name: place for place, name in enumerate(names)}
        members: dict[str | int, list[Shown]] = {}
        for photo in self._photos:
            members.setdefault(_group(photo.prediction), []).append(photo)
        bad, unknown = members.pop(_BAD, []), members.pop(_UNKNOWN, [])
        groups = [("label", str(name), photos) for name, photos in members.items()]
        groups.sort(key=lambda group: (-len(group[2]), group[1]))
        labels = {name: len(photos) for _, name, photos in groups}
        groups += [group for group in (("unknown", "", unknown), ("bad", "", bad)) if group[2]]
        figures = {
            "model": self._model,
            "photos": len(self._photos),
            "labels": labels,
            "unknown": len(unknown),
            "errors": len(bad),
        }
        page = render(
            _TEMPLATE,
            model=self._model,
            count=len(self._photos),
            labels=labels,
            unknown=len(unknown),
            bad=len(bad),
            explained=len(self._heat),
            data={
                "names": names,
                "groups": [
                    {
                        "kind": kind,
                        "name": name,
                        "photos": [
                            self._member(photo, index)
                            for photo in sorted(photos, key=lambda photo: photo.prediction.score or 0.0)
                        ],
                    }
                    for kind, name, photos in groups
                ],
            },
        )
        (self._folder / PAGE).write_text(page, encoding="utf-8", newline="\n")
        (self._folder / COUNTS).write_text(
            json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n"
        )

    def _member(self, photo: Shown, index: Mapping[str, int]) -> dict[str, Any]:
        prediction = photo.prediction
        shown: dict[str, Any] = {"file": prediction.file or "", "link": self._link(photo.path)}
        if prediction.error:
            return {**shown, "error": prediction.error.message, "code": prediction.error.code}
        top = [[index[best.label], round(best.score, 4)] for best in prediction.top[: 1 + _OTHERS]]
        if photo.number in self._kept:
            shown["picture"] = _thumbnail(photo.number)
        if photo.number in self._heat:
            shown["heat"] = self._heat[photo.number]
        return {**shown, "top": top}

    def _link(self, path: Path) -> str:
        """Return the address of a photo from the page: relative, so that both can move together."""
        absolute = os.path.abspath(self.moved.get(path, path))  # noqa: PTH100  # links are not resolved
        try:
            relative = os.path.relpath(absolute, os.path.abspath(self._target))  # noqa: PTH100
        except ValueError:
            # Another drive of Windows.
            return Path(absolute).as_uri()
        return quote(os.fsencode(relative.replace(os.sep, "/")))

    def _cannot_write(self, error: OSError) -> UsageError:
        return UsageError(f"cannot write the gallery to {self._target}: {error.strerror}")


_UNKNOWN, _BAD = 0, 1
"""Groups that are no label, and so no string."""


def _group(prediction: Prediction) -> str | int:
    if prediction.error:
        return _BAD
    return _UNKNOWN if prediction.unknown else str(prediction.label)


def _digits(heat: NDArray[np.float32]) -> list[str]:
    """Return the heat as one hexadecimal digit a place, 0 to the photo's most; a string is a row."""
    most = max(float(heat.max()), float(np.finfo(np.float32).tiny))
    steps = np.rint(_STEPS * heat / most).astype(int)
    return ["".join(f"{step:x}" for step in row) for row in steps.tolist()]


def _thumbnail(number: int) -> str:
    return f"{THUMBNAILS}/{number // _IN_A_FOLDER:03}/{number:06}.jpg"


def check_gallery(folder: str | os.PathLike[str]) -> None:
    """Raise before the photos are labelled what writing a gallery would raise after it.

    Raises:
        UsageError: the folder holds something other than a gallery, or cannot be written to.
        MissingExtraError: jinja2 is not installed.
    """
    check_report_folder(folder, "gallery", _strangers)


def _strangers(target: Path, found: set[str]) -> set[str]:
    """Return the names that are in no gallery; of a folder that only looks like one, all."""
    if _is_gallery(target, found):
        return set()
    return found - {PAGE, COUNTS, THUMBNAILS} or found


def _is_gallery(target: Path, found: set[str]) -> bool:
    page = target / PAGE
    if found != {PAGE, COUNTS, THUMBNAILS} or not page.is_file() or _MARK not in page.read_bytes():
        return False
    thumbnails = target / THUMBNAILS
    return is_folder(thumbnails) and all(entry.name.isdigit() for entry in thumbnails.iterdir())
