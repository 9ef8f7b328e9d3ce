"""Networks with feature maps."""

from __future__ import annotations

from ghostclas.models import create_model
from ghostclas.models.maps import MappedNetwork, has_maps
from ghostclas.zoo import resolve_spec


def network_of(name: str, num_classes: int = 3) -> MappedNetwork:
    network = create_model(resolve_spec(name, num_classes=num_classes))
    assert has_maps(network)
    return network
