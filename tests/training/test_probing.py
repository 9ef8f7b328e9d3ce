"""A classifier that starts from a logistic regression on the network's features."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostclas.models import create_model
from ghostclas.spec import FlavourName, ModelSpec, PreprocessSpec, ResizeSpec
from ghostclas.training.input.shared_memory import SharedMemory
from ghostclas.training.probing import fit_head
from tests.training.photos import MemorySource, photos

PREPROCESS = PreprocessSpec(resize=ResizeSpec(short_side=64), crop=64)


def fitted(network: nn.Module, source: MemorySource) -> bool:
    found = fit_head(network, source, PREPROCESS, workers=0, memory=SharedMemory())
    return found is not None


def inputs(source: MemorySource) -> tuple[torch.Tensor, torch.Tensor]:
    from ghostclas.training.input.images import EvaluationImages

    images = EvaluationImages(source, PREPROCESS)
    mean, std = (255 * torch.tensor(part).view(3, 1, 1) for part in (PREPROCESS.mean, PREPROCESS.std))
    examples = [images[number] for number in range(len(images))]
    pixels = torch.stack([(example.image.float() - mean) / std for example in examples])
    return pixels, torch.tensor([example.info.label for example in examples])


@pytest.mark.parametrize("flavour", ["paddleclas", "original"])
def test_before_its_first_step_the_network_knows_what_its_features_tell(flavour: FlavourName) -> None:
    torch.manual_seed(0)
    network = create_model(ModelSpec(name="tiny", width=0.2, num_classes=3, flavour=flavour))
    source = MemorySource(photos(classes=3, each=8, side=64))
    pixels, labels = inputs(source)
    maps: list[torch.Tensor] = []
    network.get_submodule("pool").register_forward_hook(lambda *given: maps.append(given[-1].flatten(1)))
    features: list[torch.Tensor] = []
    network.get_submodule("classifier").register_forward_pre_hook(lambda _, given: features.append(given[0]))
    assert fitted(network, source)
    assert network.training
    with torch.no_grad():
        logits = network.eval()(pixels)
    assert (logits.argmax(dim=1) == labels).float().mean() == 1
    pooled = maps[-1].shape[1]
    torch.testing.assert_close(features[-1][:, :pooled], maps[-1], atol=1e-4, rtol=1e-4)
    # Batch norm with the statistics of a batch lets the same values through.
    head = network.get_submodule("head").train()
    with torch.no_grad():
        through = head(maps[-1][:, :, None, None]).flatten(1)
    torch.testing.assert_close(through[:, :pooled], maps[-1], atol=1e-3, rtol=1e-3)
    assert not through[:, pooled:].any()


def test_a_photo_that_cannot_be_read_is_left_out() -> None:
    network = create_model(ModelSpec(name="tiny", width=0.2, num_classes=3))
    files = photos(classes=3, each=4, side=64)
    files["1/2.png"] = b"no image"
    assert fitted(network, MemorySource(files))


def test_a_network_without_a_linear_last_layer_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    assert not fitted(network, MemorySource(photos(classes=3, each=2, side=64)))
