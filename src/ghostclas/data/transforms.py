"""Random views of a training image, by torchvision's transforms v2: uint8 from the file to the last step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from PIL.Image import Image
from pydantic import Field
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ghostclas.spec import Fraction, Frozen

# Counts the changes of what a seed shows: answers to stored views are those of one of them.
VIEWS_VERSION = 2

Policy = Literal["none", "randaugment", "trivialaugment", "autoaugment"]


class AugmentConfig(Frozen):
    """How a training image is varied. ``crop_scale`` is a range of area, ``crop_ratio`` of width / height.

    ``erasing`` is a probability; ``mixup`` and ``cutmix`` are the alphas of their Beta distributions (0 is
    off; with both on, each batch takes one of them); ``repeats`` shows that many views of an image in one
    batch and as many fewer images (repeated augmentation, Hoffer et al., CVPR 2020).
    """

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Fraction = 0.5
    policy: Policy = "none"
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    erasing: Fraction = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    repeats: Annotated[int, Field(ge=1, le=8)] = 1


class _CropThenResize(v2.RandomResizedCrop):  # type: ignore[misc]
    """A random part of a photo, as a tensor of one size.

    Only the part becomes a tensor and is resized as one: PyTorch's kernels for bytes are faster than
    Pillow's, for nearly the same pixels.
    """

    def transform(self, inpt: Image, params: dict[str, Any]) -> Tensor:
        """Cut the box in ``params`` out of ``inpt`` and return it at the size asked for."""
        part = F.crop(inpt, params["top"], params["left"], params["height"], params["width"])
        resized: Tensor = F.resize(
            F.pil_to_tensor(part), self.size, interpolation=self.interpolation, antialias=True
        )
        return resized


def training_view(config: AugmentConfig, resolution: int) -> Callable[[Image], Tensor]:
    """Return a function from an RGB photo to one random uint8 view ``[3, resolution, resolution]``.

    It draws from torch's global random state.
    """
    steps: list[torch.nn.Module] = [
        _CropThenResize(
            resolution,
            scale=config.crop_scale,
            ratio=config.crop_ratio,
            interpolation=InterpolationMode(config.interpolation),
        ),
    ]
    if config.flip:
        steps.append(v2.RandomHorizontalFlip(config.flip))
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
    view: Callable[[Image], Tensor] = v2.Compose(steps)
    return view
