"""Construction of networks from their specs."""

from __future__ import annotations

import pytest

from ghostclas.errors import UsageError
from ghostclas.models import create_model
from ghostclas.spec import ModelSpec


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(
        UsageError, match=r"family of networks that is not known here: 'ghostnet_v9'.*ghostnet_v"
    ):
        create_model(ModelSpec(name="new", family="ghostnet_v9"))


def test_a_flavour_that_the_family_does_not_have_is_refused() -> None:
    with pytest.raises(
        UsageError, match="ghostnetv2_100 has no flavour 'paddleclas'; GhostNetV2 has original"
    ):
        create_model(ModelSpec(name="ghostnetv2_100", family="ghostnet_v2", flavour="paddleclas"))
