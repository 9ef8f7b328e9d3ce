"""The classifier: a bundle, an engine and ``imaging`` that label photos."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle
from ghostclas.engines.choice import Goal, open_engine
from ghostclas.engines.contract import Engine, FeatureEngine
from ghostclas.engines.table import ENGINES, workers_per_core
from ghostclas.errors import ImageError, UsageError
from ghostclas.files import is_folder
from ghostclas.imaging import ImageSource, preprocess
from ghostclas.prediction.answers import check_top, to_predictions
from ghostclas.processor import usable_cores
from ghostclas.spec import PostprocessSpec, Prediction, PredictionError, PreprocessSpec

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ghostclas.prediction.explanation import Explainer, Explanation

UInt8: TypeAlias = NDArray[np.uint8]
Photos: TypeAlias = Sequence[tuple[str | None, PredictionError | None]]
Batch: TypeAlias = tuple[Photos, NDArray[np.float32]]
Compute: TypeAlias = Callable[[UInt8], NDArray[np.float32]]
Watch: TypeAlias = Callable[[int, UInt8], None]
"""Called with the position of a photo and its decoded pixels, uint8 ``[crop, crop, 3]``."""
Item = TypeVar("Item")

_log = logging.getLogger(__name__)

BATCH_SIZE = 4
BATCH_SIZE_IN_BF16 = 8
"""The fastest of 2, 4, 8 and 16 for GhostNet x1.0 on a processor with bf16; in float32 it was 4."""

_BATCH_OF_IMAGES = 4
_SHOWN = 6
_ONE = (str, bytes, bytearray, memoryview, os.PathLike)


class Classifier:
    """A model that labels photos.

    It holds one engine on one bundle. Several threads may call ``predict``, ``stream`` and ``logits`` at once
    if the engine allows it, as all engines of this package do.

        from ghostclas.prediction import Classifier, find_images

        with Classifier.load() as classifier:
            print(classifier("photo.jpg").label)
            for prediction in classifier.stream(find_images(["photos"])):
                print(prediction.file, prediction.label, prediction.score)
    """

    def __init__(
        self, bundle: Bundle, engine: Engine, *, batch_size: int = BATCH_SIZE, workers: int = 1
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        self.bundle = bundle
        self.engine = engine
        self.batch_size = batch_size
        self._workers = max(1, workers)
        self._explainer: Explainer | None = None

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | Bundle = "default",
        *,
        engine: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
        optimize_for: Goal = "throughput",
    ) -> Self:
        """Open ``model`` in ``engine``.

        Args:
            model: a bundle (folder or ``.zip``), a run directory, a zoo name, ``"default"`` for the built-in
                model, or a bundle that is already open.
            engine: one of ``ghostclas.engines.installed_engines()``, or ``"auto"`` for the fastest of them
                that can run this bundle.
            precision: ``fp32``, ``fp16`` or ``int8``, if the bundle has several; its first when absent.
                ``bf16`` if the engine and the processor can compute in it.
            threads: the number of cores for decoding and the network; ``None`` for all. Each core decodes and
                runs its own batches, so a single photo uses one core; ``engines.open_engine`` runs one batch
                on several.
            batch_size: the number of photos in a batch in ``stream``; ``None`` for the fastest measured one:
                ``BATCH_SIZE``, or ``BATCH_SIZE_IN_BF16``.
            optimize_for: ``"startup"`` for a few photos: ``auto`` then takes the engine that starts fastest.

        Raises:
            UsageError: there is no such model or engine.
            BundleError: the bundle does not verify.
            MissingExtraError: the engine's package is not installed.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, got {threads}")
        if not isinstance(model, Bundle):
            from ghostclas.zoo import locate

            model = locate(model).bundle()
        cores = threads or usable_cores()
        opened = open_engine(
            engine,
            model,
            threads=threads,
            precision=precision,
            concurrency=cores,
            optimize_for=optimize_for,
        )
        if batch_size is None:
            batch_size = BATCH_SIZE_IN_BF16 if opened.inference_precision == "bf16" else BATCH_SIZE
        # All workers may decode at once, so a caller that limits the cores gets one worker a core.
        per_core = workers_per_core(opened.name) if cores >= usable_cores() else 1
        _log.info("batches of %d photos on %d threads, on %d cores", batch_size, cores * per_core, cores)
        return cls(model, opened, batch_size=batch_size, workers=cores * per_core)

    @property
    def classes(self) -> Sequence[str]:
        """Class names in the order of the logits."""
        return self.bundle.classes

    @property
    def preprocess(self) -> PreprocessSpec:
        """The preprocessing of a photo into the network's input."""
        return self.bundle.preprocess

    @property
    def postprocess(self) -> PostprocessSpec:
        """The postprocessing of logits into scores."""
        return self.bundle.postprocess

    # A path is a string, and a string is iterable: the first overload decides.
    @overload
    def __call__(self, photos: ImageSource, *, top: int = 5) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, photos: Iterable[ImageSource], *, top: int = 5) -> list[Prediction]: ...

    def __call__(
        self, photos: ImageSource | Iterable[ImageSource], *, top: int = 5
    ) -> Prediction | list[Prediction]:
        """Label one photo and return its prediction, or several and return a list; see :meth:`predict`.

        Raises:
            UsageError: the path of a folder, which stands for several photos: ``predict`` takes it.
        """
        if not is_one(photos):
            return self.predict(photos, top)
        _refuse_file(photos)
        if isinstance(photos, str | os.PathLike) and is_folder(photos):
            raise UsageError(
                f"{os.fspath(photos)} is a folder, and a call labels one photo or a list of them\n"
                f"       for all photos in it: classifier.predict({os.fspath(photos)!r})"
            )
        (prediction,) = self.stream([cast("ImageSource", photos)], top)
        return prediction

    def __repr__(self) -> str:
        side = self.preprocess.crop
        return (
            f"<Classifier {self.bundle.name}: {len(self.classes):,} classes, {side} x {side} pixels, "
            f"{self.engine.name}>"
        )

    def _repr_html_(self) -> str:
        """Show the classifier in a notebook."""
        from ghostclas.pages.notebook import html_table

        first = ", ".join(self.classes[:_SHOWN]) + (", ..." if len(self.classes) > _SHOWN else "")
        return html_table(
            self.bundle.name,
            {
                "classes": f"{len(self.classes):,}: {first}",
                "input": f"{self.preprocess.crop} x {self.preprocess.crop} pixels",
                "engine": self.engine.name,
                **{
                    f"top-1 on {metric.dataset}": f"{metric.top1:.2f} %"
                    for metric in self.bundle.manifest.metrics
                },
                "bundle": str(self.bundle.path),
            },
        )

    def predict(self, sources: ImageSource | Iterable[ImageSource], top: int = 5) -> list[Prediction]:
        """Label one photo or several.

        Args:
            sources: a path, encoded bytes, a PIL image, a uint8 array ``[H, W, 3]`` (RGB) or ``[H, W]``,
                or an iterable of these; an array ``[N, H, W, 3]`` is N photos. The path of a folder means all
                photos below it, as ``prediction.find_images`` sorts them.
            top: the number of labels of each photo, best first; at most the number of classes.

        Returns:
            One prediction for each photo, in the order given. A photo that cannot be decoded has its
            ``error`` set and no labels.
        """
        return list(self.stream(_each(sources), top))

    def stream(
        self, sources: Iterable[ImageSource], top: int = 5, *, watch: Watch | None = None
    ) -> Iterator[Prediction]:
        """Label photos in order, in bounded memory.

        Every core decodes a batch and runs the network on it, several batches at a time. ``sources`` may be
        endless: it is read lazily, at most two batches a worker ahead of the results. If it raises, the
        photos before that are answered first. Batches are always filled, so the same photos give the same
        scores in every run.

        ``watch`` sees each photo as the network does: it is called once for each photo that can be decoded,
        by several threads and in any order, and keeps no reference to the pixels.
        """
        check_top(top)
        _refuse_file(sources)
        return (
            prediction
            for photos, logits in self._batches(iter(sources), self.engine.run, watch)
            for prediction in self._predictions(photos, logits, top)
        )

    def stream_logits(
        self, sources: Iterable[ImageSource]
    ) -> Iterator[NDArray[np.float32] | PredictionError]:
        """Run the network on photos in order, as ``stream`` does, without scores and labels.

        Yields:
            For each photo, in order, its float32 logits ``[classes]``, or its decoding error.
        """
        return self._rows(sources, self.engine.run)

    def stream_features(
        self, sources: Iterable[ImageSource]
    ) -> Iterator[NDArray[np.float32] | PredictionError]:
        """Compute the pooled features of photos in order, in bounded memory, as ``stream`` reads them.

        Yields:
            For each photo, in order, its float32 features ``[D]``, see ``embed``, or its decoding error.

        Raises:
            UsageError, BundleError: as ``embed``.
        """
        return self._rows(sources, self._feature_engine().embed)

    def _rows(
        self, sources: Iterable[ImageSource], run: Compute
    ) -> Iterator[NDArray[np.float32] | PredictionError]:
        for photos, results in self._batches(iter(sources), run):
            rows = iter(results)
            for _, error in photos:
                yield next(rows) if error is None else error

    def embed(self, sources: ImageSource | Iterable[ImageSource]) -> NDArray[np.float32]:
        """Return the pooled features of one photo or several: the input of the last layer.

        Similar photos have similar features, even of classes that the model does not know. They serve search,
        clustering, or the training of a small classifier.

        Args:
            sources: as ``predict`` takes them.

        Returns:
            float32 ``[N, D]``, one row for each photo, in the order given.

        Raises:
            ImageError: a photo cannot be decoded; the message names it.
            UsageError: the engine gives no features; the message names engines that do.
            BundleError: the bundle's file has no such output; the message says how to write one.
        """
        embed = self._feature_engine().embed
        side = self.preprocess.crop
        rows, seen = [embed(np.empty((0, side, side, 3), np.uint8))], 0
        for photos, features in self._batches(iter(_each(sources)), embed):
            for file, error in photos:
                if error is not None:
                    raise ImageError(error.code, error.message if file else f"photo {seen}: {error.message}")
                seen += 1
            rows.append(features)
        return np.concatenate(rows)

    def _feature_engine(self) -> FeatureEngine:
        able = [name for name, runtime in ENGINES.items() if runtime.features]
        if self.engine.name not in able:
            raise UsageError(
                f"{self.engine.name} gives no features; load the model in one of: {', '.join(able)}"
            )
        return cast(FeatureEngine, self.engine)

    def explain(self, photo: ImageSource, label: str | int | None = None) -> Explanation:
        """Find the places of a photo that speak for a label, by Grad-CAM.

        The bundle's ONNX file is opened in ONNX Runtime for it, whatever the engine; see
        ``prediction.explanation``.

        Args:
            photo: one photo, as ``predict`` takes it.
            label: a class or its index; the best one when absent.

        Returns:
            The heat of every place. ``explanation.overlay()`` is the photo with the heat on it.

        Raises:
            ImageError: the photo cannot be decoded.
            UsageError: there is no such class.
            BundleError: the bundle has no ONNX file in floating point, or the network does not end in a
                pooled feature map.
        """
        from ghostclas.prediction.explanation import Explainer

        _refuse_file(photo)
        if self._explainer is None:
            self._explainer = Explainer(self.bundle)
        return self._explainer.explain(photo, label, file=_file_of(photo))

    def logits(self, images: UInt8) -> NDArray[np.float32]:
        """Run the network on prepared images, ``batch_size`` at a time.

        Args:
            images: uint8 ``[N, crop, crop, 3]``, from ``imaging.preprocess``.

        Returns:
            float32 logits ``[N, classes]``, before temperature and softmax.
        """
        side = self.preprocess.crop
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise UsageError(
                f"logits takes uint8 [N, {side}, {side}, 3], got {images.dtype} {list(images.shape)}; "
                "ghostclas.imaging.preprocess makes it from a photo"
            )
        if len(images) <= self.batch_size and len(images):
            return self.engine.run(images)
        from concurrent.futures import ThreadPoolExecutor

        batches = [images[i : i + self.batch_size] for i in range(0, len(images), self.batch_size)]
        with ThreadPoolExecutor(self._workers, thread_name_prefix="ghostclas-worker") as pool:
            parts = list(pool.map(self.engine.run, batches))
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])

    def close(self) -> None:
        """Free the engine; the classifier cannot be used afterwards."""
        self.engine.close()
        if self._explainer is not None:
            self._explainer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _batches(
        self, sources: Iterator[ImageSource], run: Compute, watch: Watch | None = None
    ) -> Iterator[Batch]:
        """Yield the result of ``run`` for batch after batch."""
        parts = enumerate(_parts(sources, self.batch_size))
        first = next(parts, (0, []))
        if len(first[1]) < 2 <= self.batch_size:
            # Starting threads for a single photo would only cost time.
            if first[1]:
                yield self._work(first, run, watch)
            yield from (self._work(part, run, watch) for part in parts)
            return
        from concurrent.futures import ThreadPoolExecutor

        remaining: Iterator[tuple[int, list[ImageSource]]] = chain([first], parts)
        pending: deque[Future[Batch]] = deque()
        failure: Exception | None = None
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="ghostclas-worker")
        try:
            while True:
                try:
                    # Twice the workers, so that one slow photo at the front does not stop the others.
                    for part in islice(remaining, 2 * self._workers - len(pending)):
                        pending.append(pool.submit(self._work, part, run, watch))
                except Exception as error:
                    failure, remaining = error, iter(())
                if not pending:
                    break
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
        if failure is not None:
            raise failure

    def _work(self, part: tuple[int, Sequence[ImageSource]], run: Compute, watch: Watch | None) -> Batch:
        """Decode a numbered batch into the network's input array, and run the network on it."""
        number, sources = part
        side = self.preprocess.crop
        images = np.empty((len(sources), side, side, 3), np.uint8)
        photos: list[tuple[str | None, PredictionError | None]] = []
        good = 0
        for position, source in enumerate(sources, number * self.batch_size):
            error = None
            try:
                preprocess(source, self.preprocess, out=images[good])
                if watch:
                    watch(position, images[good])
                good += 1
            except ImageError as problem:
                error = PredictionError(code=problem.code, message=_valid(str(problem)))
            photos.append((_file_of(source), error))
        return photos, run(images[:good])

    def _predictions(self, photos: Photos, logits: NDArray[np.float32], top: int) -> Iterator[Prediction]:
        """Yield the prediction of each photo; errors keep their places."""
        files = [file for file, error in photos if error is None]
        answered = iter(to_predictions(logits, self.classes, self.postprocess, top=top, files=files))
        for file, error in photos:
            yield next(answered) if error is None else Prediction(file=file, error=error)


def _parts(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items; the last may be shorter. An error of ``items`` comes last."""
    part: list[Item] = []
    try:
        for item in items:
            part.append(item)
            if len(part) == size:
                yield part
                part = []
    except Exception:
        if part:
            yield part
        raise
    if part:
        yield part


def is_one(sources: ImageSource | Iterable[ImageSource]) -> bool:
    """Return whether ``sources`` is a single photo."""
    if isinstance(sources, np.ndarray):
        return sources.ndim != _BATCH_OF_IMAGES
    return isinstance(sources, _ONE) or not isinstance(sources, Iterable)


def _each(sources: ImageSource | Iterable[ImageSource]) -> Iterable[ImageSource]:
    _refuse_file(sources)
    if isinstance(sources, str | os.PathLike) and is_folder(sources):
        from ghostclas.prediction.photos import find_images

        return find_images([sources], literal=True)
    return [cast("ImageSource", sources)] if is_one(sources) else cast("Iterable[ImageSource]", sources)


def _refuse_file(sources: object) -> None:
    # An open file is iterable by lines, too.
    if hasattr(sources, "read"):
        raise UsageError("a photo is a path, bytes, an image or an array, not an open file: give file.read()")


def _file_of(source: ImageSource) -> str | None:
    if not isinstance(source, str | os.PathLike):
        return None
    return _valid(os.fspath(source))


def _valid(text: str) -> str:
    # A file name that is not valid UTF-8 must still fit into JSON.
    return text.encode("utf-8", "backslashreplace").decode()
