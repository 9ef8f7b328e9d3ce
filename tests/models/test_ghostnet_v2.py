"""Weights of timm's GhostNetV2 give the same logits in ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.parity import assert_logits_of_timm, slow


@pytest.mark.parametrize(
    "name",
    [
        "ghostnetv2_100",
        pytest.param("ghostnetv2_130", marks=slow),
        pytest.param("ghostnetv2_160", marks=slow),
    ],
)
def test_v2_weights_give_the_logits_of_timm(name: str, tmp_path: Path) -> None:
    assert_logits_of_timm(name, ".safetensors", tmp_path)
