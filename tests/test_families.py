"""What the row and the file of a family of networks must provide."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ghostclas import models
from ghostclas.errors import UsageError
from ghostclas.families import FAMILIES
from ghostclas.models import create_model
from ghostclas.models.arranged import arrange
from ghostclas.models.folded import fold_batch_norms
from ghostclas.models.maps import map_channels, run_with_maps
from ghostclas.models.staged import StagedNetwork
from ghostclas.spec import ModelSpec

OURS = [name for name in FAMILIES if name != "timm"]


def smallest(family: str) -> ModelSpec:
    """The cheapest network of a family that has a name of its own."""
    return min(FAMILIES[family].specs(), key=lambda spec: spec.width).model_copy(update={"num_classes": 5})


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_a_row_and_the_file_of_its_name(name: str) -> None:
    family = FAMILIES[name]
    assert family.name == name
    assert family.title
    assert callable(importlib.import_module(f"ghostclas.models.{name}").build)
    for spec in family.specs():
        assert spec.family == name
        assert not family.flavours or spec.flavour in family.flavours


def test_no_other_file_of_the_room_builds_networks() -> None:
    """A file with a ``build`` and no row would be a family that nobody can name."""
    (room,) = models.__path__
    builders = {
        file.stem for file in Path(room).glob("*.py") if "\ndef build(" in file.read_text(encoding="utf-8")
    }
    assert builders == set(FAMILIES)


def test_names_mean_one_network_each() -> None:
    names = [spec.name for family in FAMILIES.values() for spec in family.specs()]
    names += [alias for family in FAMILIES.values() for entry in family.entries for alias in entry.aliases]
    assert len(names) == len(set(names))
    for name in names:
        assert sum(family.match(name) is not None for family in FAMILIES.values()) <= 1


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


@pytest.mark.parametrize("name", OURS)
def test_a_layout_names_the_tensors_of_the_network_and_no_others(name: str) -> None:
    own = set(create_model(smallest(name)).state_dict())
    for layout in FAMILIES[name].weight_layouts:
        assert {layout.translate(marker) for marker in layout.markers} <= own


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


def test_families_need_no_torch() -> None:
    probe = "import sys, ghostclas.families; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
