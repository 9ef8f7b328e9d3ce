"""Random views of a training image, by torchvision's transforms v2: uint8 from the file to the last step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from PIL.Image import Image
from pydantic import Field, model_validator
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ghostclas.spec import Fraction, Frozen

# Raise this with every change of the view that a seed gives: stored answers belong to one version.
VIEWS_VERSION = 2

Policy = Literal["none", "randaugment", "trivialaugment", "autoaugment"]


Ratio = Annotated[float, Field(ge=0.01, le=100)]


class AugmentConfig(Frozen):
    """How a training image is varied. ``crop_scale`` is a range of area, ``crop_ratio`` of width / height.

    ``erasing`` is a probability; ``mixup`` and ``cutmix`` are the alphas of their Beta distributions (0 is
    off; with both on, each batch takes one of them); ``repeats`` shows that many views of an image in one
    batch and as many fewer images (repeated augmentation, Hoffer et al., CVPR 2020).
    """

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    crop_ratio: tuple[Ratio, Ratio] = (0.75, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Fraction = 0.5
    policy: Policy = "none"
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    erasing: Fraction = 0.0
    mixup: Annotated[float, Field(ge=0, le=1000)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=1000)] = 0.0
    repeats: Annotated[int, Field(ge=1, le=8)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> AugmentConfig:
        for name, (low, high) in (("crop_scale", self.crop_scale), ("crop_ratio", self.crop_ratio)):
            if low > high or high <= 0:
                raise ValueError(f"augment.{name} goes from the smaller to the larger, got [{low}, {high}]")
        return self


class _CropAndFlip:
    """A random part of a photo as a tensor of one size, flipped at random.

    Only the part becomes a tensor and is resized as one. PyTorch's kernels for bytes are faster than those of
    Pillow, for nearly the same pixels. torchvision's transforms draw the random numbers. They are not called
    as modules, which would search each photo for other inputs; that takes as long as resizing it.
    """

    def __init__(self, config: AugmentConfig, resolution: int) -> None:
        self._flip = config.flip
        self._size = [resolution, resolution]
        self._interpolation = InterpolationMode(config.interpolation)
        self._box = v2.RandomResizedCrop(resolution, scale=config.crop_scale, ratio=config.crop_ratio)

    def __call__(self, photo: Image) -> Tensor:
        box = self._box.make_params([photo])
        left, top = box["left"], box["top"]
        part = photo.crop((left, top, left + box["width"], top + box["height"]))
        pixels: Tensor = F.resize_image(
            F.pil_to_tensor(part), self._size, interpolation=self._interpolation, antialias=True
        )
        if self._flip and torch.rand(1) < self._flip:
            pixels = pixels.flip(-1)
        return pixels


def training_view(config: AugmentConfig, resolution: int) -> Callable[[Image], Tensor]:
    """Return a function from an RGB photo to one random uint8 view ``[3, resolution, resolution]``.

    It draws from torch's global random state.
    """
    first: Callable[[Image], Tensor] = _CropAndFlip(config, resolution)
    steps: list[torch.nn.Module] = []
    if config.policy == "randaugment":
        steps.append(v2.RandAugment(magnitude=config.magnitude))
    elif config.policy == "trivialaugment":
        steps.append(v2.TrivialAugmentWide())
    elif config.policy == "autoaugment":
        steps.append(v2.AutoAugment())
    if config.color_jitter:
        strength = config.color_jitter
        steps.append(v2.ColorJitter(strength, strength, strength))
    if config.erasing:
        steps.append(v2.RandomErasing(config.erasing))
    return _Varied(first, v2.Compose(steps)) if steps else first


@dataclass(frozen=True)
class _Varied:
    """A view with further transforms; a class, so that it can be pickled for spawned processes."""

    first: Callable[[Image], Tensor]
    rest: v2.Transform

    def __call__(self, photo: Image) -> Tensor:
        varied: Tensor = self.rest(self.first(photo))
        return varied
