"""Quantization-aware training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ghostclas.models import create_model
from ghostclas.models.int8 import Int8Conv2d, Int8Linear, round_activations, round_weights, simulate_int8
from ghostclas.spec import ModelSpec


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model(ModelSpec(name="ghostnet_x0_5", width=0.5, num_classes=3)).eval()


def test_activations_take_at_most_256_values_and_zero_stays_zero() -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 3, 40, 40) * 5 + 2
    values[0, 0, 0, 0] = 0
    rounded = round_activations(values)
    assert 200 < len(rounded.unique()) <= 256
    assert rounded[0, 0, 0, 0] == 0
    step = (values.max() - values.min()) / 255
    assert (rounded - values).abs().max() <= step * 0.51


def test_weights_have_255_steps_for_each_output_channel() -> None:
    torch.manual_seed(0)
    weights = torch.randn(4, 8, 3, 3) * torch.tensor([1e-3, 1.0, 50.0, 0.0]).view(4, 1, 1, 1)
    rounded = round_weights(weights)
    steps = weights.abs().amax(dim=(1, 2, 3)) / 127
    assert ((rounded - weights).abs().amax(dim=(1, 2, 3)) <= 0.501 * steps).all()
    torch.testing.assert_close(rounded[:3].abs().amax(dim=(1, 2, 3)), weights[:3].abs().amax(dim=(1, 2, 3)))
    # A norm that is folded in later scales whole channels.
    torch.testing.assert_close(round_weights(7 * weights), 7 * rounded)


def test_what_is_constant_is_not_divided_by_zero() -> None:
    assert round_activations(torch.zeros(1, 2)).tolist() == [[0, 0]]
    torch.testing.assert_close(round_activations(torch.full((1, 2), 3.0)), torch.full((1, 2), 3.0))
    assert round_weights(torch.zeros(2, 1, 1, 1)).abs().sum() == 0


def test_every_layer_with_weights_rounds_and_no_name_changes(network: nn.Module) -> None:
    rounding = copy.deepcopy(network)
    simulate_int8(rounding)
    kinds = {type(module) for module in rounding.modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    assert kinds == {Int8Conv2d, Int8Linear}
    assert rounding.state_dict().keys() == network.state_dict().keys()
    photos = torch.randn(2, 3, 64, 64)
    plain, rounded = network(photos), rounding(photos)
    assert 0 < (plain - rounded).abs().max() < 0.5 * plain.abs().max() + 0.05


def test_gradients_pass_the_rounding(network: nn.Module) -> None:
    simulate_int8(network)
    network.train()(torch.randn(4, 3, 64, 64)).square().sum().backward()
    missing = [name for name, value in network.named_parameters() if value.grad is None]
    assert not missing
    assert all(value.grad.isfinite().all() for value in network.parameters() if value.grad is not None)
