"""Feature maps: the last one of each resolution."""

from __future__ import annotations

import pytest
import torch

from ghostclas.models.maps import map_channels, run_with_maps
from tests.models.mapped import network_of


@pytest.mark.parametrize(
    ("name", "channels"),
    [("ghostnet_x1_0", [16, 24, 40, 112, 160]), ("efficientnet_lite0", [16, 24, 40, 112, 320])],
)
def test_the_maps_are_the_last_of_each_size_and_the_answers_are_the_networks(
    name: str, channels: list[int]
) -> None:
    network = network_of(name).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, maps = run_with_maps(network, images)
        assert torch.equal(logits, network(images))
    assert [tuple(each.shape) for each in maps] == [
        (2, number, 64 // side, 96 // side) for number, side in zip(channels, (2, 4, 8, 16, 32), strict=True)
    ]
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert map_channels(network) == channels
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_each_part_takes_the_given_map_in_place_of_the_one_before() -> None:
    network = network_of("ghostnet_x0_5").eval()
    generator = torch.Generator().manual_seed(0)
    images, other = (torch.randn(2, 3, 64, 64, generator=generator) for _ in range(2))
    with torch.no_grad():
        own = run_with_maps(network, images)
        again = run_with_maps(network, other, own.maps[:-1])
    # The first part sees the image, every other one what it is given.
    assert not torch.equal(again.maps[0], own.maps[0])
    assert all(torch.equal(a, b) for a, b in zip(again.maps[1:], own.maps[1:], strict=True))
    assert torch.equal(again.logits, own.logits)
