"""Weights of timm's GhostNetV3 give the same logits in ours, with branches and merged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch

from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.zoo import resolve_spec
from tests.models.parity import assert_logits_of_timm, slow


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ghostnetv3_050", ".pth"),
        pytest.param("ghostnetv3_100", ".safetensors", marks=slow),
        pytest.param("ghostnetv3_130", ".safetensors", marks=slow),
        pytest.param("ghostnetv3_160", ".safetensors", marks=slow),
    ],
)
def test_v3_weights_give_the_logits_of_timm_also_when_merged(name: str, suffix: str, tmp_path: Path) -> None:
    assert_logits_of_timm(name, suffix, tmp_path)


def test_the_names_of_the_original_ghostnetv3_are_read(tmp_path: Path) -> None:
    """The authors call the norms of branches ``bn``, timm calls them ``bn1``."""
    theirs = timm.create_model("ghostnetv3_050", pretrained=False)
    original = {
        re.sub(r"(_rpr_\w+(?:\.\d)?)\.bn1\.", r"\1.bn.", name): value
        for name, value in theirs.state_dict().items()
    }
    assert sum(".bn." in name for name in original) > 400
    torch.save({"state_dict": original}, tmp_path / "original.pth.tar")
    assert load_weights(create_model(resolve_spec("ghostnetv3_050")), tmp_path / "original.pth.tar") == ()
