"""The zoo's figures, recounted on our networks; ``test_ghostnet`` recounts them on PaddleClas'."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from ghostclas.models import create_model
from ghostclas.models.branches import merge_branches
from ghostclas.zoo import ZOO

FIGURES = {"parameters", "state_values", "macs"}


def _count(model: nn.Module) -> dict[str, int]:
    """Run one 224 x 224 image and count what every convolution and fully connected layer multiplies."""
    macs = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            height, width = output.shape[2:]
            taps = module.kernel_size[0] * module.kernel_size[1] * (module.in_channels // module.groups)
            macs += height * width * module.out_channels * taps
        elif isinstance(module, nn.Linear):
            macs += module.in_features * module.out_features

    for module in model.modules():
        module.register_forward_hook(add)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 224, 224))
    state = {
        name: value for name, value in model.state_dict().items() if not name.endswith("batches_tracked")
    }
    return {
        "parameters": sum(value.numel() for value in model.parameters()),
        "state_values": sum(value.numel() for value in state.values()),
        "macs": macs,
    }


@pytest.mark.parametrize("name", ZOO)
def test_figures_are_those_of_our_network(name: str) -> None:
    entry = ZOO[name]
    model = create_model(entry.spec)
    merge_branches(model)
    assert _count(model) == entry.model_dump(include=FIGURES)


@pytest.mark.parametrize("name", [name for name, entry in ZOO.items() if entry.origin == "timm"])
def test_figures_are_those_of_timm(name: str) -> None:
    theirs = _count(reparameterize_model(timm.create_model(name, pretrained=False)))
    assert theirs == ZOO[name].model_dump(include=FIGURES)
