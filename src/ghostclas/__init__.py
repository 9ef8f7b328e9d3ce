"""GhostNet image classifiers: train, distil, export, and predict with the same answer in every runtime.

    from ghostclas import Classifier
    print(Classifier.load().predict("photo.jpg")[0].top[0].label)

The names in ``__all__`` and the rooms (``ghostclas.training``, ...) are imported when they are first used:
``import ghostclas`` brings in no numpy, torch or runtime.
Other functions live in their room: ``from ghostclas.evaluation import evaluate``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from ghostclas.prediction import Classifier
    from ghostclas.spec import Prediction
    from ghostclas.training import Run, train

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
    "train",
]

_HOMES = {
    "Bundle": "bundle",
    "Classifier": "prediction",
    "Prediction": "spec",
    "Run": "training",
    "train": "training",
}
_ROOMS = {
    "bench",
    "data",
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
    return getattr(import_module(f"ghostclas.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
