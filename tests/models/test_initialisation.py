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


@pytest.mark.parametrize("width", ["x0_2", "x0_5", "x1_0"])
def test_a_network_that_has_seen_few_batches_keeps_its_activations_in_range(width: str) -> None:
    """Its batch norms have not measured their inputs yet, and it must still be exported as it answers."""
    torch.manual_seed(0)
    network = create_model(resolve_spec(f"ghostnet_{width}"))
    images = torch.randn(4, 3, 64, 64)
    for _ in range(2):
        logits = network.eval()(images)
        assert logits.abs().max() < 16
        network.train()(images)
