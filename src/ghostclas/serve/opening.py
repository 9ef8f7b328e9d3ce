"""Opening a model to serve it: verified, proved on its own reference images, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ghostclas.bundle.manifest import REFERENCE
from ghostclas.engines import open_engine
from ghostclas.engines.contract import Engine
from ghostclas.engines.table import workers_per_core
from ghostclas.errors import BundleError, UsageError
from ghostclas.processor import usable_cores
from ghostclas.serve.capacity import best_batch
from ghostclas.serve.model import ServedModel
from ghostclas.verification import TOLERANCE, logit_differences
from ghostclas.zoo import locate

_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Opening:
    """How models are opened.

    Attributes:
        engine: its name, or ``auto``.
        precision: of the file or the arithmetic, as ``ghostclas.engines.open_engine`` takes it.
        cores: how many cores this process may use.
        batch: how many images are run at once at most; ``None`` measures it.
    """

    engine: str = "auto"
    precision: str | None = None
    cores: int = 1
    batch: int | None = None

    def threads(self, engine: str) -> int:
        """Return how many threads keep the cores busy with this engine; all of them may decode at once."""
        per_core = workers_per_core(engine) if self.cores >= usable_cores() else 1
        return self.cores * per_core


def parse_models(words: Sequence[str]) -> dict[str, str]:
    """Return the models to serve by name, from ``BUNDLE`` or ``NAME=BUNDLE``; the first is the default.

    A model without a name is called as its bundle is.

    Raises:
        UsageError: two have one name, or a name that no URL could hold.
    """
    models: dict[str, str] = {}
    for word in words:
        name, mark, where = word.partition("=")
        if not mark or "/" in name or "\\" in name:
            where = word
            name = locate(word).bundle().name
        if not name or len(name) > _NAME_LENGTH or not _fits_url(name):
            raise UsageError(
                f"a served model's name has letters, digits, '.', '_' and '-', not {name[:_NAME_LENGTH]!r}; "
                f"name it: --model NAME={where}"
            )
        if name in models:
            raise UsageError(f"two models are called {name!r}; name one of them: --model NAME={where}")
        models[name] = where
    return models


def open_model(name: str, where: str, how: Opening) -> ServedModel:
    """Open the bundle at ``where``, check every file, and prove the engine on its reference images.

    Raises:
        UsageError: there is no such model, engine or precision.
        BundleError: it does not verify, or the engine's answers are not the bundle's.
        MissingExtraError: the engine's package is not installed.
    """
    bundle = locate(where).bundle()
    bundle.check()
    runtime = open_engine(
        how.engine, bundle, precision=how.precision, threads=how.cores, concurrency=how.cores
    )
    try:
        model = ServedModel.of(name, bundle, runtime, precision=how.precision)
        _prove(model, runtime)
        if how.batch is not None:
            return model.with_batch(how.batch)
        return model.with_batch(best_batch(runtime.run, model.side, how.threads(runtime.name)))
    except BaseException:
        runtime.close()
        raise


def _prove(model: ServedModel, runtime: Engine) -> None:
    bundle = model.bundle
    if all(entry.path != REFERENCE for entry in bundle.manifest.files):
        return
    reference = bundle.reference()
    logits = runtime.run(reference.pixels)
    worst = float(logit_differences(logits, reference.logits).max())
    tolerance = TOLERANCE[model.precision].max_abs
    if not worst <= tolerance:
        raise BundleError(
            f"{bundle.path}: {runtime.name} does not answer as the bundle's reference says: logits differ by "
            f"up to {worst:.3g} ({tolerance:g} is allowed); see: ghostclas verify {bundle.path}"
        )


def _fits_url(name: str) -> bool:
    return all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)
