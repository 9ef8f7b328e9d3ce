"""The photo files of a measurement: the user's own, or drawn ones."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ghostclas.data import Source
from ghostclas.errors import DataError, ImageError

WIDTH, HEIGHT, QUALITY = 480, 360, 88

_COARSE = 12


def drawn_photos(folder: Path, count: int) -> str:
    """Write ``count`` drawn JPEGs into ``folder``, and return a description of them.

    They show soft colours and grain. The number of pixels is that of ordinary photos on the web, and so is
    the number of bytes, within a third.
    """
    for number in range(count):
        picture = _draw(np.random.default_rng(number))
        Image.fromarray(picture).save(folder / f"{number:05}.jpg", quality=QUALITY)
    return f"{count} drawn JPEGs of {WIDTH} x {HEIGHT}"


def copied_photos(source: Source, folder: Path, count: int) -> str:
    """Write up to ``count`` images of ``source``, evenly spread, into ``folder``, and return a description.

    Raises:
        DataError: none of them can be read.
    """
    total = len(source.samples)
    chosen = np.linspace(0, total - 1, min(count, total)).astype(int).tolist()
    copied = 0
    for index in chosen:
        suffix = Path(source.samples[index].key).suffix or ".jpg"
        with suppress(ImageError):
            (folder / f"{copied:05}{suffix}").write_bytes(source.read(index))
            copied += 1
    if not copied:
        raise DataError(f"{source.location}: none of its images can be read")
    return f"{copied} images of {Path(source.location).name}"


def _draw(rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 256, (_COARSE * HEIGHT // WIDTH, _COARSE, 3), np.uint8)
    soft = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 9, (HEIGHT, WIDTH, 1))
    return np.asarray((np.asarray(soft) + grain).clip(0, 255), np.uint8)
