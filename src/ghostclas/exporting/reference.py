"""The reference images of a bundle. They are drawn, so no photo of a person is distributed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ghostclas.bundle import Reference
from ghostclas.imaging import preprocess
from ghostclas.spec import PreprocessSpec

if TYPE_CHECKING:
    import torch

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

CANDIDATES = 3
"""Images drawn of every kind; the one with the clearest answer is kept."""

_ORIENTATION = 0x0112
_QUALITY = 90


def make_reference(network: Callable[[torch.Tensor], torch.Tensor], spec: PreprocessSpec) -> Reference:
    """Draw the reference images and compute their logits with torch; see ``draw_reference``.

    Args:
        network: maps uint8 images ``[N, H, W, 3]`` to float32 logits ``[N, C]``.
        spec: the preprocessing of an image.
    """
    import torch

    def logits(pixels: UInt8) -> Float32:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels)).float().numpy())

    return draw_reference(logits, spec)


def draw_reference(network: Callable[[UInt8], Float32], spec: PreprocessSpec) -> Reference:
    """Draw the reference images and compute their logits.

    One is landscape, one portrait and rotated by its EXIF orientation, one grey, and one smaller than the
    network's input, so that they cover every path through preprocessing. If the two best classes of an image
    are close together, rounding decides between them. Of each kind, the image with the clearest answer is
    therefore taken.

    Args:
        network: maps uint8 images ``[N, H, W, 3]`` to float32 logits ``[N, C]``.
        spec: the preprocessing of an image.
    """
    chosen = [_clearest(network, spec, draw) for draw in _kinds(spec.resize.short_side)]
    jpegs, pixels, logits = zip(*chosen, strict=True)
    return Reference(jpegs, np.stack(pixels), np.stack(logits))


def _clearest(
    network: Callable[[UInt8], Float32],
    spec: PreprocessSpec,
    draw: Callable[[np.random.Generator], bytes],
) -> tuple[bytes, UInt8, NDArray[np.float32]]:
    jpegs = [draw(np.random.default_rng(seed)) for seed in range(CANDIDATES)]
    pixels = np.stack([preprocess(jpeg, spec) for jpeg in jpegs])
    logits = network(pixels)
    best = np.sort(logits, axis=1)[:, -2:]
    clearest = int(np.argmax(best[:, -1] - best[:, 0]))
    return jpegs[clearest], pixels[clearest], logits[clearest]


def _kinds(short: int) -> Sequence[Callable[[np.random.Generator], bytes]]:
    """Return a function that draws each kind, in sizes that suit a network for images of this short side."""
    long = short * 4 // 3
    small = max(8, short // 3)
    return (
        lambda rng: _jpeg(_scene(rng, long, short)),
        lambda rng: _jpeg(_scene(rng, short + 7, short), orientation=6),
        lambda rng: _jpeg(_scene(rng, short, short + 1).convert("L")),
        lambda rng: _jpeg(_scene(rng, small, small + 5)),
    )


def _scene(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw a gradient with discs, bars, waves and a little noise."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    corners = rng.uniform(30, 225, (3, 3))
    picture = corners[0] + x[..., None] * (corners[1] - corners[0]) + y[..., None] * (corners[2] - corners[0])
    for _ in range(6):
        colour, (cx, cy), radius = rng.uniform(0, 255, 3), rng.uniform(0.1, 0.9, 2), rng.uniform(0.05, 0.25)
        if rng.random() < 0.5:
            inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        else:
            angle = rng.uniform(0, np.pi)
            inside = np.abs((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) < radius / 4
        picture[inside] = colour
    waves = np.sin(2 * np.pi * (x * rng.uniform(2, 8) + y * rng.uniform(2, 8)))
    picture += 12 * waves[..., None] + rng.normal(0, 3, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, *, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY, exif=exif)
    return stream.getvalue()
