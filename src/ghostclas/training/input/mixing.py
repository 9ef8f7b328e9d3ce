"""MixUp and CutMix over a batch that is already on its device."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from ghostclas.training.input.transforms import AugmentConfig

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def build_mixing(config: AugmentConfig, num_classes: int) -> Mix | None:
    """Return a function from images ``[N, 3, H, W]`` float and labels ``[N]`` to their mixture, or ``None``.

    The labels come back as probabilities ``[N, num_classes]``. Zhang et al., "mixup", ICLR 2018; Yun et al.,
    "CutMix", ICCV 2019. It draws from torch's global random state. A single class cannot be mixed.
    """
    choices: list[v2.Transform] = []
    if config.mixup:
        choices.append(v2.MixUp(alpha=config.mixup, num_classes=num_classes))
    if config.cutmix:
        choices.append(v2.CutMix(alpha=config.cutmix, num_classes=num_classes))
    if not choices or num_classes < 2:
        return None
    choose = v2.RandomChoice(choices)

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if len(images) < 2:
            return images, F.one_hot(labels, num_classes).to(images.dtype)
        mixed: tuple[Tensor, Tensor] = choose(images, labels)
        return mixed

    return mix
