"""Folding and unfolding of norms leaves the network unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ghostclas.models.folded import flush_subnormals, fold_batch_norms
from ghostclas.models.registry import create_model
from ghostclas.spec import ModelSpec
from tests.models.weights import randomised


@pytest.mark.parametrize("flavour", ["paddleclas", "original"])
def test_a_folded_network_answers_alike_and_has_no_norms(flavour: str) -> None:
    spec = ModelSpec(name="ghostnet_x0_5", width=0.5, flavour=flavour, num_classes=5)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = randomised(create_model(spec))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold_batch_norms(model)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        wanted, found = model(images), folded(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.std()))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_biases_and_norms_without_gain_are_folded(bias: bool, affine: bool) -> None:
    torch.manual_seed(0)
    model = randomised(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, eps=0.1, affine=affine))
    )
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(fold_batch_norms(model)(images), model(images), rtol=1e-5, atol=1e-5)


def test_a_norm_whose_order_is_not_certain_is_left() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(x))

    model = randomised(Reversed())
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(fold_batch_norms(model)(images), model(images), rtol=0, atol=0)


def test_subnormal_weights_become_zero_and_no_others() -> None:
    model = nn.Linear(3, 1)
    smallest = float(np.finfo(np.float32).tiny)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[smallest / 4, smallest, -smallest / 2]]))
    assert flush_subnormals(model) == 2
    assert model.weight.tolist() == [[0.0, smallest, 0.0]]
    assert flush_subnormals(model) == 0
