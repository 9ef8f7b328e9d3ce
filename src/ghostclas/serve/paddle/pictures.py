"""What clients of Paddle Serving send for a picture, without a wire format."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.model import ServedModel
from ghostclas.serve.service import Answer, Request, Service

Images: TypeAlias = Sequence[bytes] | NDArray[np.uint8]
"""Encoded files, or pixels uint8 ``[N, side, side, 3]``."""

Ask: TypeAlias = Callable[[Images, str], Awaitable[Answer]]
"""How a transport asks the service: with images and the model's name; it knows deadline, id and trace."""


TOLERANCE = 1.0
"""How far a plane of floats may lie outside 0 to 255 once it is turned back, in levels."""


def asking(service: Service, *, deadline: float | None, request_id: str, trace: str) -> Ask:
    """Return how a request of this deadline (``time.monotonic``), id and W3C ``traceparent`` asks."""

    async def ask(images: Images, model: str) -> Answer:
        request = Request(images, model=model, deadline=deadline, request_id=request_id, trace=trace)
        return await service.answer(request)

    return ask


def invalid(message: str) -> ServeError:
    """Return the error of a request that cannot be understood."""
    return ServeError(Kind.INVALID, message)


def file_of(text: str, where: str) -> bytes:
    """Return the image file that a base64 string holds; line breaks in it are passed over.

    Raises:
        ServeError: INVALID; it is no base64.
    """
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", "").encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise invalid(f"{where} is no base64: {str(error)[:100]}") from None


def pixels_of(planes: NDArray[np.float32], model: ServedModel) -> NDArray[np.uint8]:
    """Turn normalised planes back into the pixels that they were made from.

    Args:
        planes: float32 ``[N, 3, side, side]`` RGB, ``(pixel / 255 - mean) / std`` of the model.
        model: whose they are.

    Returns:
        uint8 ``[N, side, side, 3]``.

    Raises:
        ServeError: INVALID; they are no such planes.
    """
    side = model.side
    if planes.ndim != 4 or planes.shape[1:] != (3, side, side):
        raise invalid(f"planes are float32 [N, 3, {side}, {side}] for this model, got {list(planes.shape)}")
    mean = np.asarray(model.preprocess.mean, dtype=np.float32)[:, None, None]
    std = np.asarray(model.preprocess.std, dtype=np.float32)[:, None, None]
    with np.errstate(over="ignore", invalid="ignore"):
        levels = np.rint((planes * std + mean) * 255)
    # Written so that NaN fails, too.
    if not bool(((levels >= -TOLERANCE) & (levels <= 255 + TOLERANCE)).all()):
        raise invalid(
            f"these floats are no pixels: normalise by mean {list(model.preprocess.mean)} and std "
            f"{list(model.preprocess.std)} of pixels in 0 to 1"
        )
    return np.ascontiguousarray(np.clip(levels, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def check_size(shape: Sequence[int], item_bytes: int, limit: int) -> int:
    """Return the number of elements of a shape whose array may be made.

    Raises:
        ServeError: INVALID: an axis is negative; TOO_LARGE: it takes more than ``limit`` bytes.
    """
    count = 1
    for axis in shape:
        if axis < 0:
            raise invalid(f"a shape has no negative axis, got {list(shape)[:9]}")
        count *= axis
    if count * item_bytes > limit:
        raise ServeError(Kind.TOO_LARGE, f"a tensor of {list(shape)[:9]} takes more than {limit} bytes")
    return count
