from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostclas.models import create_model
from ghostclas.models.arranged import LANES, ArrangedBottleneck, arrange, matrices_of
from ghostclas.models.folded import fold_batch_norms
from ghostclas.models.ghostnet import GhostNet
from ghostclas.zoo import resolve_spec


def trained(name: str) -> nn.Module:
    """A network whose norms and gates have work to do."""
    torch.manual_seed(0)
    model = create_model(resolve_spec(name, num_classes=7)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model


@pytest.mark.parametrize("name", ["ghostnet_x0_5", "ghostnet_x1_0", "ghostnet_x1_3", "ghostnet_100"])
def test_the_arranged_network_is_the_same_function(name: str) -> None:
    folded = fold_batch_norms(trained(name))
    arranged = arrange(folded)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        wanted, found = folded(images), arranged(images)
    assert wanted.std() > 0.01
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert isinstance(arranged, GhostNet)
    assert all(isinstance(block, ArrangedBottleneck) for block in arranged.blocks)
    assert not any(isinstance(block, ArrangedBottleneck) for block in folded.blocks)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["ghostnet_x0_75", "ghostnet_x1_3"])
def test_halves_are_whole_blocks_of_channels_after_the_first_bottleneck(name: str) -> None:
    arranged = arrange(fold_batch_norms(trained(name)))
    assert isinstance(arranged, GhostNet)
    for index, block in enumerate(arranged.blocks):
        assert isinstance(block, ArrangedBottleneck)
        expansion = block.primary[0]
        assert isinstance(expansion, nn.Conv2d)
        assert expansion.out_channels % LANES == 0
        if index:
            assert block.outputs.width % (2 * LANES) == 0


@pytest.mark.parametrize("folded", [False, True])
def test_the_matrices_come_back_from_the_arranged_network(folded: bool) -> None:
    model = trained("ghostnet_x1_3")
    plain = fold_batch_norms(model)
    other = create_model(resolve_spec("ghostnet_x1_3", num_classes=7))
    matrices = matrices_of(arrange(plain).state_dict(), fold_batch_norms(other) if folded else other)
    wanted = {name: tensor for name, tensor in plain.state_dict().items() if tensor.ndim > 1}
    assert matrices.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(matrices[name], tensor), name


def test_matrices_of_another_network_are_refused_by_name() -> None:
    narrow = arrange(fold_batch_norms(trained("ghostnet_x0_5"))).state_dict()
    with pytest.raises(KeyError, match=r"stem\.conv\.weight"):
        matrices_of(narrow, trained("ghostnet_x1_0"))


def test_other_networks_are_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert arrange(network) is network
