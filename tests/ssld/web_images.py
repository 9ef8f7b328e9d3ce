"""Real images from the data folder, and the changes that copies on the web have."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from tests.real_data import TINY


def tiny_members(split: str) -> list[str]:
    """Return the images of a split of Tiny-ImageNet, in the order of their names."""
    with zipfile.ZipFile(TINY) as archive:
        return sorted(name for name in archive.namelist() if name.startswith(f"{split}/") and "." in name)


def unpack(names: list[str], root: Path) -> list[Path]:
    """Write these members of the archive below ``root``, and its class names beside them."""
    with zipfile.ZipFile(TINY) as archive:
        for name in [*names, "classes.csv"]:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    return [root / name for name in names]


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 75) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def _cropped(image: Image.Image, draw: np.random.Generator, part: float) -> Image.Image:
    size = [round(part * side) for side in image.size]
    left, top = (int(draw.integers(0, side - kept + 1)) for side, kept in zip(image.size, size, strict=True))
    return image.crop((left, top, left + size[0], top + size[1]))


def _resized(image: Image.Image, factor: float) -> Image.Image:
    size = [round(factor * side) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC)


CHANGES: Mapping[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "re-encoded": lambda image, draw: encoded(image, quality=50),
    "smaller": lambda image, draw: encoded(_resized(image, 0.75), quality=90),
    "larger": lambda image, draw: encoded(_resized(image, 2.5)),
    "cropped": lambda image, draw: encoded(_cropped(image, draw, 0.8), quality=90),
    "cropped to half": lambda image, draw: encoded(_cropped(image, draw, 0.71), quality=90),
    "brightened": lambda image, draw: encoded(ImageEnhance.Brightness(image).enhance(1.35), quality=85),
    "darkened": lambda image, draw: encoded(ImageEnhance.Brightness(image).enhance(0.7), quality=85),
}
