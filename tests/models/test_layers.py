"""Layers that the families share."""

import pytest
import torch

from ghostclas.models import create_model
from ghostclas.models.layers import SqueezeExcite
from ghostclas.spec import FlavourName
from ghostclas.zoo import resolve_spec


@pytest.mark.parametrize("flavour", ["paddleclas", "original"])
def test_every_gate_starts_half_open_so_that_it_passes_a_gradient(flavour: FlavourName) -> None:
    network = create_model(resolve_spec("ghostnet_x0_5").model_copy(update={"flavour": flavour}))
    gates = [module for module in network.modules() if isinstance(module, SqueezeExcite)]
    assert gates
    for gate in gates:
        channels = gate.expand.out_channels
        passed = gate(torch.ones(1, channels, 1, 1))
        assert passed.mean().item() == pytest.approx(0.5, abs=0.1)
        assert ((passed > 0) & (passed < 1)).float().mean() > 0.9
