"""Requirements on the row and the file of a family of networks."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas import models
from ghostclas.families import FAMILIES
from ghostclas.models import create_model
from tests.models.smallest import OURS, smallest


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
def test_a_layout_names_the_tensors_of_the_network_and_no_others(name: str) -> None:
    own = set(create_model(smallest(name)).state_dict())
    for layout in FAMILIES[name].weight_layouts:
        assert {layout.translate(marker) for marker in layout.markers} <= own


def test_families_need_no_torch() -> None:
    probe = "import sys, ghostclas.families; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
