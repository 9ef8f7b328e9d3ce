"""Random views: what each setting of ``augment`` does to a photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from ghostclas.training.input.transforms import AugmentConfig, training_view

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))


def view(config: AugmentConfig, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return training_view(config, 32)(PHOTO)


@pytest.mark.parametrize(
    ("config", "transform"),
    [
        (AugmentConfig(policy="randaugment", magnitude=14), v2.RandAugment(magnitude=14)),
        (AugmentConfig(policy="trivialaugment"), v2.TrivialAugmentWide()),
        (AugmentConfig(policy="autoaugment"), v2.AutoAugment()),
        (AugmentConfig(color_jitter=0.4), v2.ColorJitter(0.4, 0.4, 0.4)),
        (AugmentConfig(erasing=0.7), v2.RandomErasing(0.7)),
    ],
)
def test_a_variation_is_torchvisions_after_crop_and_flip(
    config: AugmentConfig, transform: v2.Transform
) -> None:
    differ = 0
    for seed in range(8):
        cropped = view(AugmentConfig(), seed)
        # The random state is now where the view goes on with its variation.
        expected = transform(cropped)
        assert torch.equal(view(config, seed), expected)
        differ += not torch.equal(expected, cropped)
    assert differ > 2


def test_flip_is_the_mirror_image() -> None:
    assert torch.equal(view(AugmentConfig(flip=1)), view(AugmentConfig(flip=0)).flip(-1))


def test_a_crop_of_everything_is_the_photo_resized() -> None:
    whole = view(AugmentConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=0))
    expected = v2.functional.resize(v2.functional.pil_to_tensor(PHOTO), [32, 32], antialias=True)
    assert torch.equal(whole, expected)
