"""What every peer of serve.py does for a request: ``ghostclas`` itself decodes and infers, on one core.

So only the servers differ. Each script here is run in its peer's own environment as
``python with_NAME.py PORT BUNDLE ENGINE``, and takes images as the peer's documentation does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from ghostclas.prediction import Classifier

MODEL = "ghost"


class Arguments(NamedTuple):
    port: int
    bundle: str
    engine: str


def arguments() -> Arguments:
    return Arguments(int(sys.argv[1]), sys.argv[2], sys.argv[3])


def load(bundle: str, engine: str) -> Classifier:
    return Classifier.load(bundle, engine=engine, threads=1)


def label(classifier: Classifier, images: Sequence[bytes]) -> list[str]:
    """Return the JSON text of each image's prediction: what all servers answer with."""
    return [prediction.model_dump_json() for prediction in classifier.predict(images)]
