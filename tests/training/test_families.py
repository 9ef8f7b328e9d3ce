"""Every generation of GhostNet trains, and its bundle answers as it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.training import resolve_config, train
from tests.training.photos import photo_folder

SETTINGS = [
    "data.resolution=32",
    "data.workers=0",
    "schedule.epochs=2",
    "schedule.warmup_epochs=0.5",
    "optimizer.lr=0.01",
    "optimizer.lr_batch=null",
    "loop.batch_size=8",
    "loop.ema=0.9",
    "loop.device=cpu",
]


@pytest.mark.parametrize("name", [pytest.param("ghostnetv2_x0_2", marks=pytest.mark.slow), "ghostnetv3_x0_2"])
def test_it_trains_and_becomes_a_bundle(name: str, tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    config = resolve_config("scratch", [*SETTINGS, f"model.name={name}"], {"data": {"path": str(folder)}})
    run = train(config=config, output=tmp_path / "run")
    bundle = Bundle.open(run.bundle)
    assert (bundle.name, bundle.spec.flavour) == (name, "original")
    assert bundle.manifest.metrics[0].top1 == run.top1
