"""Where in a photo the reason for its label is: Grad-CAM, without a training framework.

R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
ICCV 2017. The networks here average their last feature map A over its places before anything else, so the
gradient of a logit is the same at every place. It is exact: ``engines.onnx_head`` derives what follows the
mean by hand. The heat of a place is ``relu(sum_k g_k * A_k)``, g_k the derivative by channel k at one place.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ghostclas.bundle import Bundle
from ghostclas.engines.maps import MapEngine
from ghostclas.errors import UsageError, did_you_mean
from ghostclas.imaging import Box, ImageSource, crop_box, decode, preprocess, softmax, whole_size
from ghostclas.spec import Label, PreprocessSpec

Fractions: TypeAlias = Box
"""(left, top, right, bottom) as parts of a photo's width and height, 0 to 1."""

LONGEST = 800
"""Pixels of the longer side of the picture that an explanation keeps."""

_HALF = 0.5
_OPACITY = 0.65
_SHADE = 0.45
_COLOURS = np.array([(40, 20, 120), (200, 30, 110), (250, 120, 40), (255, 235, 130)], np.float32)
"""From no heat to the most, each as far from the next."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """The places of one photo that speak for a class."""

    file: str | None
    label: Label
    """the class that is explained, and its score"""
    heat: NDArray[np.float32]
    """float32 ``[H, W]``, 0 or more, of the part of the photo that the network sees, in units of the logit"""
    seen: Fractions
    """the part of the photo that the network sees"""
    photo: Image.Image
    """the photo, upright RGB, at most ``LONGEST`` pixels long"""

    @property
    def marked(self) -> Fractions | None:
        """The smallest rectangle with every place of at least half the heat; ``None`` where there is none."""
        if not self.heat.max() > 0:
            return None
        rows, columns = np.nonzero(self.heat >= _HALF * self.heat.max())
        left, top, right, bottom = self.seen
        wide, high = (right - left) / self.heat.shape[1], (bottom - top) / self.heat.shape[0]
        return (
            left + wide * int(columns.min()),
            top + high * int(rows.min()),
            left + wide * (int(columns.max()) + 1),
            top + high * (int(rows.max()) + 1),
        )

    def overlay(self, longest: int = LONGEST) -> Image.Image:
        """Return the photo with its heat on it, from violet to yellow; what the network does not see is dark.

        Args:
            longest: pixels of the longer side, at most; the photo is not enlarged.

        Returns:
            A new RGB image.
        """
        picture = self.photo.copy()
        picture.thumbnail((longest, longest))
        width, height = picture.size
        left, top, right, bottom = (
            round(part * size) for part, size in zip(self.seen, (width, height) * 2, strict=True)
        )
        size = (max(right - left, 1), max(bottom - top, 1))
        # Cubic interpolation overshoots; places between two are as hot as they are far from both.
        smooth = np.asarray(Image.fromarray(self.heat).resize(size, Image.Resampling.BILINEAR))
        strength = smooth / max(float(self.heat.max()), np.finfo(np.float32).tiny)
        pixels = np.asarray(picture, np.float32) * _SHADE
        part = np.asarray(picture, np.float32)[top : top + size[1], left : left + size[0]]
        strength = strength[: part.shape[0], : part.shape[1], None]
        inside = part + _OPACITY * strength * (_coloured(strength) - part)
        pixels[top : top + size[1], left : left + size[0]] = inside
        return Image.fromarray(np.rint(pixels).astype(np.uint8))

    def encoded(self, format: str = "PNG", longest: int = LONGEST) -> bytes:  # noqa: A002
        """Return the overlay as the content of a file in one of Pillow's formats."""
        out = io.BytesIO()
        self.overlay(longest).save(out, format)
        return out.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain values, for JSON."""
        return {
            "file": self.file,
            "label": self.label.model_dump(),
            "heat": [[round(value, 6) for value in row] for row in self.heat.tolist()],
            "seen": list(self.seen),
            "marked": None if self.marked is None else list(self.marked),
        }


class Explainer:
    """Explains answers of one bundle. Several threads may call it at once.

    It opens the bundle's ONNX file in ONNX Runtime, whatever engine answers otherwise.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._engine: MapEngine | None = None
        self._opening = threading.Lock()

    def explain(
        self, photo: ImageSource, label: str | int | None = None, *, file: str | None = None
    ) -> Explanation:
        """Explain why a photo gets a label; see :meth:`Classifier.explain`."""
        engine = self._open()
        pixels = preprocess(photo, self.bundle.preprocess)
        logits, maps = engine.run_with_maps(pixels[None])
        index = int(logits[0].argmax()) if label is None else self._index(label)
        scores = softmax(logits, self.bundle.postprocess.temperature)[0]
        picture = decode(photo, short_side=LONGEST, exif=self.bundle.preprocess.exif)
        seen = seen_part(*picture.size, self.bundle.preprocess)
        picture.thumbnail((LONGEST, LONGEST))
        return Explanation(
            file=file,
            label=Label(index=index, label=self.bundle.classes[index], score=float(scores[index])),
            heat=heat_of(maps[0], engine.head.gradient(maps[0].mean((1, 2), np.float64), index)),
            seen=seen,
            photo=picture,
        )

    def heat(self, pixels: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
        """Return what speaks for a class in a photo that is prepared already.

        Args:
            pixels: uint8 ``[crop, crop, 3]``, from ``imaging.preprocess``.
            label: the index of the class.

        Returns:
            float32 ``[H, W]``, 0 or more, in units of the logit.

        Raises:
            UsageError, BundleError: as :meth:`explain`.
        """
        engine, index = self._open(), self._index(label)
        _, maps = engine.run_with_maps(pixels[None])
        return heat_of(maps[0], engine.head.gradient(maps[0].mean((1, 2), np.float64), index))

    def close(self) -> None:
        """Free what the runtime holds; the next explanation opens it again."""
        with self._opening:
            if self._engine is not None:
                self._engine.close()
            self._engine = None

    def _open(self) -> MapEngine:
        with self._opening:
            if self._engine is None:
                self._engine = MapEngine.open(self.bundle)
            return self._engine

    def _index(self, label: str | int) -> int:
        classes = self.bundle.classes
        if isinstance(label, int):
            if not 0 <= label < len(classes):
                raise UsageError(f"class {label} is none of the {len(classes):,} of {self.bundle.name}")
            return label
        if label not in classes:
            near = did_you_mean(label, classes) or f"; see: ghostclas info {self.bundle.path} --json"
            raise UsageError(f"{self.bundle.name} has no class {label!r}{near}")
        return classes.index(label)


def heat_of(maps: NDArray[np.float32], gradient: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the Grad-CAM of a feature map: float32 ``[H, W]``, 0 or more.

    Args:
        maps: float32 ``[K, H, W]``.
        gradient: of the logit by the mean of each channel, float64 ``[K]``.
    """
    places = maps.shape[1] * maps.shape[2]
    heat: NDArray[np.float64] = np.tensordot(gradient / places, maps, axes=1)
    return np.maximum(heat, 0).astype(np.float32)


def seen_part(width: int, height: int, spec: PreprocessSpec) -> Fractions:
    """Return the part of an upright photo of ``width x height`` that the network sees."""
    if spec.resize.library is None:
        left, top, right, bottom = crop_box(width, height, spec)
    else:
        width, height = spec.resize.size or whole_size(width, height, spec.resize.short_side)
        left, top = (width - spec.crop) // 2, (height - spec.crop) // 2
        right, bottom = left + spec.crop, top + spec.crop
    return left / width, top / height, right / width, bottom / height


def _coloured(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a colour for each strength ``[H, W, 1]``, 0 to 1: float32 ``[H, W, 3]``."""
    places = strength.clip(0, 1) * (len(_COLOURS) - 1)
    below = np.minimum(places.astype(np.int64), len(_COLOURS) - 2)
    share = places - below
    below = below[..., 0]
    mixed: NDArray[np.float32] = _COLOURS[below] * (1 - share) + _COLOURS[below + 1] * share
    return mixed
