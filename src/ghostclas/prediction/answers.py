"""Logits to predictions: scores, labels and the decision that a photo is unknown. It needs no engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ghostclas.errors import UsageError
from ghostclas.imaging import softmax, top_k
from ghostclas.spec import Label, PostprocessSpec, Prediction


def to_predictions(
    logits: NDArray[np.float32],
    classes: Sequence[str],
    postprocess: PostprocessSpec,
    *,
    top: int = 5,
    files: Sequence[str | None] | None = None,
) -> list[Prediction]:
    """Return the prediction of each photo from its logits.

    Args:
        logits: float32 ``[N, C]``, from an engine or another runtime.
        classes: the C class names in the order of the logits.
        postprocess: the temperature, and the score below which a photo is unknown.
        top: the number of labels of each photo, best first; at most C.
        files: the name of each photo, if they have names.

    Raises:
        UsageError: the shapes do not fit, or ``top`` is not positive.
    """
    check_top(top)
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise UsageError(f"logits are [N, {len(classes)}] for these classes, got {list(logits.shape)}")
    if files is not None and len(files) != len(logits):
        raise UsageError(f"there are {len(logits)} rows of logits and {len(files)} files")
    if not len(logits):
        return []
    scores = softmax(logits, postprocess.temperature)
    predictions = []
    best = top_k(scores, min(top, len(classes)))
    for file, row, indices in zip(files or [None] * len(logits), scores, best, strict=True):
        labels = tuple(Label(index=int(i), label=classes[i], score=float(row[i])) for i in indices)
        unknown = labels[0].score < postprocess.unknown_below
        predictions.append(Prediction(file=file, top=labels, unknown=unknown))
    return predictions


def check_top(top: int) -> None:
    """Refuse a number of labels that is not positive.

    Raises:
        UsageError: it is 0 or less.
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, got {top}")
