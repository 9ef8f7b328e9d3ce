"""GhostNet image classifiers: train, distil, export, and predict with the same answer in every runtime.

    import ghostclas

    classifier = ghostclas.load("default")  # or a bundle, or a run
    print(classifier("photo.jpg").label)

The names in ``__all__`` and the rooms (``ghostclas.training``, ...) are imported when they are first used:
``import ghostclas`` brings in no numpy, torch or runtime. Rooms are nouns; the public verbs are functions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostclas.api import calibrate, compare, create_model, evaluate, list_models, load, verify
    from ghostclas.bundle import Bundle
    from ghostclas.errors import (
        BundleError,
        DataError,
        ExportError,
        GhostclasError,
        ImageError,
        MissingExtraError,
        TrainingError,
        UsageError,
    )
    from ghostclas.exporting import export
    from ghostclas.prediction import Classifier
    from ghostclas.spec import Prediction
    from ghostclas.ssld.pipeline import distil
    from ghostclas.training import Run, train, train_head

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "BundleError",
    "Classifier",
    "DataError",
    "ExportError",
    "GhostclasError",
    "ImageError",
    "MissingExtraError",
    "Prediction",
    "Run",
    "TrainingError",
    "UsageError",
    "__version__",
    "calibrate",
    "compare",
    "create_model",
    "distil",
    "evaluate",
    "export",
    "list_models",
    "load",
    "train",
    "train_head",
    "verify",
]

# The module of each name; errors are in ``errors``.
_HOMES = {
    "Bundle": "bundle",
    "Classifier": "prediction",
    "Prediction": "spec",
    "Run": "training.result",
    "distil": "ssld.pipeline",
    "export": "exporting",
    "train": "training.run",
    "train_head": "training.head",
    **dict.fromkeys(
        ("calibrate", "compare", "create_model", "evaluate", "list_models", "load", "verify"), "api"
    ),
}
_NEED_TORCH = {"training.run", "ssld.pipeline"}
_ROOMS = {
    "bench",
    "data",
    "datasets",
    "engines",
    "evaluation",
    "exporting",
    "imaging",
    "models",
    "prediction",
    "ssld",
    "training",
    "verification",
    "weights",
    "zoo",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"ghostclas.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'ghostclas' has no attribute {name!r}")
    room = _HOMES.get(name, "errors")
    if room in _NEED_TORCH:
        from ghostclas.extras import require

        require("torch", extra="train")
    return getattr(import_module(f"ghostclas.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
