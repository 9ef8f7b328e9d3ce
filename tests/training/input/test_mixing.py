"""MixUp and CutMix: the targets say what is in the pictures."""

import pytest
import torch

from ghostclas.training.input.mixing import build_mixing
from ghostclas.training.input.transforms import AugmentConfig

CLASSES = 5
LABELS = torch.tensor([0, 1, 2, 3, 4, 4])
# All pixels of a picture of class k are 10^k, so a picture's mean tells the share of each class in it.
IMAGES = (10.0**LABELS).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()


@pytest.mark.parametrize("config", [AugmentConfig(mixup=1.0), AugmentConfig(cutmix=1.0)])
def test_the_targets_are_the_shares_of_the_classes_in_each_picture(config: AugmentConfig) -> None:
    mix = build_mixing(config, CLASSES)
    assert mix
    torch.manual_seed(0)
    mixed = 0
    for _ in range(20):
        images, targets = mix(IMAGES, LABELS)
        assert images.shape == IMAGES.shape
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(LABELS)))
        torch.testing.assert_close(images.mean(dim=(1, 2, 3)), targets @ 10.0 ** torch.arange(CLASSES))
        mixed += int((targets.max(dim=1).values < 0.99).sum())
    assert mixed > 40


def test_mixup_blends_pixels_and_cutmix_moves_them() -> None:
    torch.manual_seed(1)
    blend, move = (build_mixing(c, CLASSES) for c in (AugmentConfig(mixup=1), AugmentConfig(cutmix=1)))
    assert blend
    assert move
    assert not torch.isin(blend(IMAGES, LABELS)[0], IMAGES).all()
    assert torch.isin(move(IMAGES, LABELS)[0], IMAGES).all()


def test_with_both_on_a_batch_takes_one_of_them() -> None:
    mix = build_mixing(AugmentConfig(mixup=1.0, cutmix=1.0), CLASSES)
    assert mix
    torch.manual_seed(2)
    moved = [bool(torch.isin(mix(IMAGES, LABELS)[0], IMAGES).all()) for _ in range(20)]
    assert 0 < sum(moved) < 20


def test_there_is_nothing_to_mix() -> None:
    assert build_mixing(AugmentConfig(), CLASSES) is None
    assert build_mixing(AugmentConfig(mixup=1.0), 1) is None
    mix = build_mixing(AugmentConfig(mixup=1.0), CLASSES)
    assert mix
    images, targets = mix(IMAGES[:1], LABELS[:1])
    assert torch.equal(images, IMAGES[:1])
    assert targets.tolist() == [[1, 0, 0, 0, 0]]
