"""The tensors of the Open Inference Protocol v2 for these models, without a wire format.

HTTP and gRPC share this module, so that both take and give the same tensors:

- input ``images``: UINT8 ``[N, side, side, 3]``, RGB pixels as ``imaging.preprocess`` makes them;
- input ``encoded``: BYTES ``[N]``, image files as a camera or a disk has them, instead of ``images``. The
  metadata list ``images`` alone, so a generic client does not send both;
- output ``logits``: FP32 ``[N, C]``;
- output ``scores``: FP32 ``[N, C]``, the softmax of the logits at the bundle's temperature;
- with ``classification: k``, either output is BYTES ``[N, k]`` of ``value:index:label``, best first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostclas.imaging import softmax, top_k
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.service import Answer, ServedModel
from ghostclas.spec import PredictionError

PIXELS = "images"
ENCODED = "encoded"
LOGITS = "logits"
SCORES = "scores"
OUTPUTS = (LOGITS, SCORES)
PLATFORM = "ghostclas"
EXTENSIONS = ("binary_tensor_data", "classification")

MAX_ELEMENTS = 2**63 - 1
"""Shapes are int64 in the protocol, and so is their product."""


class Tensor(NamedTuple):
    """A tensor of the metadata; -1 stands for any number of images."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is asked for; ``classification`` is the number of best classes, None for numbers."""

    name: str
    classification: int | None = None
    binary: bool = False


def invalid(message: str) -> ServeError:
    """Return the error of a request that breaks the protocol."""
    return ServeError(Kind.INVALID, message)


def inputs_of(model: ServedModel) -> tuple[Tensor, ...]:
    """Return the inputs that the metadata name."""
    return (Tensor(PIXELS, "UINT8", (-1, model.side, model.side, 3)),)


def outputs_of(model: ServedModel) -> tuple[Tensor, ...]:
    """Return the outputs that the metadata name."""
    return tuple(Tensor(name, "FP32", (-1, len(model.classes))) for name in OUTPUTS)


def properties_of(model: ServedModel) -> Mapping[str, str]:
    """Return what the metadata say beyond tensors."""
    return {
        "alternative_input": f"{ENCODED}: BYTES [-1], image files instead of {PIXELS}",
        "engine": model.engine,
    }


def check_shape(name: str, shape: Sequence[object]) -> int:
    """Return the number of elements of a shape.

    Raises:
        ServeError: INVALID; an axis is no whole number, or negative, or the product exceeds 2^63 - 1.
    """
    count = 1
    for axis in shape:
        if type(axis) is not int or axis < 0:
            raise invalid(f"input {name!r}: a shape has whole numbers from 0 up, got {axis!r}")
        count *= axis
        if count > MAX_ELEMENTS:
            raise invalid(f"input {name!r}: shape has more than 2^63 - 1 elements")
    return count


def check_input(
    model: ServedModel, name: str, datatype: str, shape: Sequence[object], *, images: int, bytes_: int
) -> int:
    """Check an input before anything is allocated for it, and return the number of its images.

    Args:
        model: the model that will answer.
        name: the input's name.
        datatype: the protocol's name of the element type.
        shape: as it was sent.
        images: the most images of a request.
        bytes_: the most bytes of a tensor of pixels.

    Raises:
        ServeError: INVALID or TOO_LARGE.
    """
    count = check_shape(name, shape)
    if name == PIXELS:
        wanted, axes = "UINT8", [model.side, model.side, 3]
        fits = len(shape) == 4 and list(shape[1:]) == axes
        described = f"[N, {model.side}, {model.side}, 3]"
    elif name == ENCODED:
        wanted, fits, described = "BYTES", len(shape) == 1 or (len(shape) == 2 and shape[1] == 1), "[N]"
    else:
        raise invalid(f"no input {name[:100]!r}; model {model.name!r} takes {PIXELS!r} or {ENCODED!r}")
    if datatype != wanted:
        raise invalid(f"input {name!r} is {wanted}, got {datatype[:20]!r}")
    if not fits:
        raise invalid(f"input {name!r} is {described}, got {list(shape)[:9]}")
    number = shape[0]
    assert isinstance(number, int)
    if number < 1:
        raise invalid(f"input {name!r} holds no image")
    if number > images:
        raise ServeError(Kind.TOO_LARGE, f"input {name!r} holds {number} images; the limit is {images}")
    if name == PIXELS and count > bytes_:
        raise ServeError(Kind.TOO_LARGE, f"input {name!r} takes {count} bytes; the limit is {bytes_}")
    return number


def check_inputs(names: Sequence[str]) -> None:
    """Refuse a request whose inputs are not exactly one of the two.

    Raises:
        ServeError: INVALID.
    """
    if len(names) != 1:
        raise invalid(f"a request has one input, {PIXELS!r} or {ENCODED!r}, got {len(names)}")


def check_outputs(outputs: Sequence[Output]) -> Sequence[Output]:
    """Return the outputs that a request asks for; without any, both are meant.

    Raises:
        ServeError: INVALID; an unknown name, one name twice, or ``classification`` below 1.
    """
    seen: set[str] = set()
    for output in outputs:
        if output.name not in OUTPUTS:
            raise invalid(f"no output {output.name[:100]!r}; there are {' and '.join(map(repr, OUTPUTS))}")
        if output.name in seen:
            raise invalid(f"output {output.name!r} is asked for twice")
        if output.classification is not None and output.classification < 1:
            raise invalid(
                f"output {output.name!r}: classification is at least 1, got {output.classification}"
            )
        seen.add(output.name)
    return outputs


def check_parameters(where: str, parameters: Collection[str]) -> None:
    """Refuse tensors in shared memory: a client names no memory or file of this machine.

    Raises:
        ServeError: UNSUPPORTED.
    """
    for name in parameters:
        if name.startswith("shared_memory"):
            raise ServeError(Kind.UNSUPPORTED, f"{where}: shared memory is not served; send the tensor")


def logits_of(answer: Answer) -> NDArray[np.float32]:
    """Return the logits of all images, float32 ``[N, C]``.

    Raises:
        ServeError: INVALID; an image could not be read, and the message says which.
    """
    if (failed := answer.first_error()) is not None:
        index, error = failed
        where = f"image {index} of {len(answer.rows)}, counted from 0"
        raise invalid(f"{where}: {error.code}: {error.message}")
    return np.stack([row for row in answer.rows if not isinstance(row, PredictionError)])


def output_of(answer: Answer, logits: NDArray[np.float32], output: Output) -> NDArray[Any]:
    """Return an output's values: float32 ``[N, C]``, or bytes objects ``[N, k]`` for a classification.

    Args:
        answer: whose model gives labels and temperature.
        logits: float32 ``[N, C]``, from ``logits_of``.
        output: what to make of them.
    """
    values = logits
    if output.name == SCORES:
        values = softmax(logits, answer.model.postprocess.temperature).astype(np.float32, copy=False)
    if output.classification is None:
        return values
    classes = answer.model.classes
    best = top_k(values, min(output.classification, len(classes)))
    return np.array(
        [
            [f"{row[index]:f}:{index}:{classes[index]}".encode() for index in indices]
            for row, indices in zip(values, best, strict=True)
        ],
        dtype=object,
    )
