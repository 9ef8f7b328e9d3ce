"""What the tests of imaging decode."""

from __future__ import annotations

from typing import Any

import numpy as np

from ghostclas import imaging
from ghostclas.imaging import decode
from tests.images import photo

PIXELS = photo(60, 40)
Array = np.ndarray[Any, Any]


def pixels_of(source: imaging.ImageSource, **options: Any) -> Array:
    image = decode(source, **options)
    assert image.mode == "RGB"
    return np.asarray(image)
