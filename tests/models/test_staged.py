"""The common structure of the networks: stem, blocks, head."""

from __future__ import annotations

import pytest
import torch

from ghostclas.models import create_model
from ghostclas.models.arranged import arrange
from ghostclas.models.folded import fold_batch_norms
from ghostclas.models.maps import map_channels, run_with_maps
from ghostclas.models.staged import StagedNetwork
from tests.models.smallest import OURS, smallest


@pytest.mark.parametrize("name", OURS)
def test_a_network_gives_maps_logits_and_a_graph_for_cpus(name: str) -> None:
    spec = smallest(name)
    torch.manual_seed(0)
    network = create_model(spec)
    assert isinstance(network, StagedNetwork)
    images = torch.randn(2, 3, 64, 64)
    network.train()(images)
    network.eval()
    with torch.inference_mode():
        logits, maps = run_with_maps(network, images)
        torch.testing.assert_close(logits, network(images))
        assert [each.shape[2] for each in maps] == [32, 16, 8, 4, 2]
        assert [each.shape[1] for each in maps] == map_channels(network)
        folded = fold_batch_norms(network)
        torch.testing.assert_close(arrange(folded)(images), logits, rtol=1e-3, atol=1e-4)
