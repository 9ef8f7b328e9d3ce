"""Parity: other packages' weights give the same logits in our networks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils.model import reparameterize_model
from torch import nn

from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.models.branches import has_branches
from ghostclas.models.folded import fold_batch_norms
from ghostclas.zoo import resolve_spec

TOLERANCE = 1e-4
slow = pytest.mark.slow


def assert_logits_of_timm(name: str, suffix: str, tmp_path: Path) -> None:
    """Load timm's network with random weights into ours; compare both as they are and merged."""
    theirs = randomised(timm.create_model(name, pretrained=False), seed=11).eval()
    images = patchwork(seed=3)
    with torch.no_grad():
        logits = theirs(images).numpy()
    file = tmp_path / f"theirs{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(theirs.state_dict(), file)

    model = create_model(resolve_spec(name)).eval()
    load_weights(model, file)
    difference = largest_difference(model, images.numpy(), logits)
    print(f"{name}: largest difference {difference:.2e}")
    assert difference <= TOLERANCE
    if has_branches(model):
        deployed = reparameterize_model(theirs)
        with torch.no_grad():
            logits = deployed(images).numpy()
        assert largest_difference(fold_batch_norms(model), images.numpy(), logits) <= TOLERANCE


def randomised(model: nn.Module, *, seed: int) -> nn.Module:
    """Give every tensor random values that keep activations of order one, so that a misplaced one shows."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(value: torch.Tensor, low: float, high: float) -> None:
        value.copy_(torch.rand(value.shape, generator=generator) * (high - low) + low)

    def normal(value: torch.Tensor, deviation: float) -> None:
        value.copy_(torch.randn(value.shape, generator=generator) * deviation)

    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                # Branches are added up.
                assert module.running_mean is not None
                assert module.running_var is not None
                assert module.num_batches_tracked is not None
                share = 5**-0.5 if re.search(r"rpr|\.(convs|scale|skip)\b", name) else 1.0
                uniform(module.weight, 0.5 * share, 1.5 * share)
                normal(module.bias, 0.3 * share)
                normal(module.running_mean, 0.3)
                uniform(module.running_var, 1, 3)
                module.num_batches_tracked.fill_(5)
            elif isinstance(module, nn.Conv2d):
                normal(module.weight, (1.5 / module.weight[0].numel()) ** 0.5)
            elif isinstance(module, nn.Linear):
                normal(module.weight, 0.05)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                normal(module.bias, 0.3)
    return model


def patchwork(*, seed: int) -> torch.Tensor:
    """Two images that differ after pooling, too: patches, a colour of their own, and noise."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*sides: int) -> torch.Tensor:
        return torch.randn(2, 3, *sides, generator=generator)

    return nn.functional.interpolate(noise(7, 7), scale_factor=32) + noise(1, 1) + 0.3 * noise(224, 224)


def largest_difference(model: nn.Module, images: np.ndarray, expected: np.ndarray) -> float:
    # Logits that hardly vary, or not with the image, would agree whatever the weights are.
    assert expected.shape == (2, 1000)
    deviation, between_images = expected.std(), np.abs(expected[0] - expected[1]).mean()
    print(f"logits: deviation {deviation:.2f}, between images {between_images:.2f}")
    assert 0.5 < deviation < 50
    assert between_images > 200 * TOLERANCE
    with torch.no_grad():
        return float(np.abs(model(torch.from_numpy(images)).numpy() - expected).max())
