"""Networks of timm, rebuilt from their spec."""

from __future__ import annotations

import pytest

from ghostclas.exporting.untrained import untrained
from ghostclas.models.registry import create_model

timm = pytest.importorskip("timm", reason="timm is not installed")


def test_the_spec_rebuilds_a_network_of_timm_in_its_deployed_form() -> None:
    made = untrained("timm:repghostnet_050", size=64)
    create_model(made.spec).load_state_dict(made.model.state_dict())
    branches = sum(p.numel() for p in timm.create_model("repghostnet_050").parameters())
    assert sum(p.numel() for p in made.model.parameters()) < branches
