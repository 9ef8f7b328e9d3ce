"""Which batch norms keep the statistics of the weights."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from ghostclas.models import create_model
from ghostclas.training.norms import FrozenNorms, frozen_norms
from ghostclas.zoo import resolve_spec


def test_none_those_behind_the_pooling_and_all() -> None:
    network = create_model(resolve_spec("ghostnet_x0_5", num_classes=3))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert frozen_norms(network, "none", side=64) == []
    assert frozen_norms(network, "all", side=64) == norms
    assert frozen_norms(network, "pooled", side=64) == [network.get_submodule("head.norm")]


@pytest.mark.parametrize("name", ["ghostnet_x1_0", "ghostnetv2_x1_0", "timm:mobilenetv3_small_050"])
def test_a_small_image_makes_no_other_norm_one_of_a_single_value(name: str) -> None:
    network = create_model(resolve_spec(name, num_classes=3))
    found = frozen_norms(network, "pooled", side=32)
    assert [name for name, module in network.named_modules() if module in found] in ([], ["head.norm"])


def test_the_network_stays_as_it_was() -> None:
    network = create_model(resolve_spec("ghostnet_x0_5", num_classes=3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for which in get_args(FrozenNorms):
        frozen_norms(network, which, side=64)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())
