"""Every generation of GhostNet trains, and its bundle answers as it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.training import train
from tests.training.photos import photo_folder
from tests.training.runs import WHOLE, settings


@pytest.mark.slow
def test_version_3_trains_with_its_branches_and_becomes_a_bundle(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    run = train(config=settings(folder, "model.name=ghostnetv3_x0_2"), output=tmp_path / "run")
    bundle = Bundle.open(run.bundle)
    assert (bundle.name, bundle.spec.flavour) == ("ghostnetv3_x0_2", "original")
    assert bundle.manifest.metrics[0].top1 == run.top1


@pytest.mark.usefixtures("weights_only")
def test_version_2_learns(tmp_path: Path) -> None:
    config = settings(
        photo_folder(tmp_path / "photos"), "model.name=ghostnetv2_x0_2", *WHOLE, "schedule.epochs=15"
    )
    run = train(config=config, output=tmp_path / "run")
    losses = [json.loads(line)["loss"] for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
