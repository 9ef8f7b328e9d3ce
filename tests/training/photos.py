"""Small generated photos whose classes differ in colour, so that a tiny network learns them at once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ghostclas.data.source import Sample


def photos(*, classes: int, each: int, side: int = 40, seed: int = 0) -> dict[str, bytes]:
    """Return PNG bytes by ``<class>/<number>.png``."""
    draw = np.random.default_rng(seed)
    files = {}
    for label in range(classes):
        colour = np.zeros(3)
        colour[label % 3] = 160
        for number in range(each):
            noise = draw.uniform(0, 60, (side, side, 3))
            pixels = (noise + colour * (1 - 0.3 * (label // 3))).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            files[f"{label}/{number}.png"] = buffer.getvalue()
    return files


def photo_folder(root: Path, *, classes: int = 3, train: int = 12, val: int = 4) -> Path:
    """Write ``train/`` and ``val/`` folders of photos below ``root`` and return it."""
    for split, each, seed in (("train", train, 0), ("val", val, 1)):
        for name, content in photos(classes=classes, each=each, seed=seed).items():
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


class MemorySource:
    """A source over a dictionary of files."""

    location = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.classes = sorted({key.split("/")[0] for key in files})
        self.samples = [Sample(key, self.classes.index(key.split("/")[0])) for key in sorted(files)]

    def read(self, index: int) -> bytes:
        return self.files[self.samples[index].key]
