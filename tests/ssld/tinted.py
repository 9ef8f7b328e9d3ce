"""Images of one colour with texture, no two of them duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.colours import COLOURS


def tinted(path: Path, colour: str, strength: int, seed: int) -> Path:
    """Write an image with structure whose mean colour is known: no two are duplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng(seed).permutation(np.repeat([0.5, 1.0], 18)).reshape(6, 6, 1)
    pixels = np.kron(pattern, np.ones((8, 8, 1))) * np.array(COLOURS[colour]) * strength
    Image.fromarray(pixels.astype(np.uint8)).save(path, "PNG")
    return path
