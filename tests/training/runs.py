"""Short runs, and how two of them are compared."""

import json
from pathlib import Path

import pytest
import torch

from ghostclas.spec import Metric
from ghostclas.training import TrainConfig, resolve_config

SETTINGS = [
    "model.name=ghostnet_x0_2",
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


# Learns its three colours from any seed.
WHOLE = ["schedule.epochs=30", "loop.batch_size=12", "model.dropout=0"]


def settings(folder: Path, *more: str) -> TrainConfig:
    return resolve_config("scratch", [*SETTINGS, *more], {"data": {"path": str(folder)}})


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return {**state["ema"], **{f"raw.{name}": value for name, value in state["model"].items()}}


def assert_same_weights(run: Path, other: Path) -> None:
    expected, found = weights(run), weights(other)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name


def epochs(run: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()]


def end_without_bundle(patch: pytest.MonkeyPatch) -> None:
    """End runs with their last checkpoint: the export takes longer than a few epochs of a small network."""
    nothing = Metric(dataset="none", images=0, top1=0, through="nothing")
    patch.setattr("ghostclas.training.run._finish", lambda *_: nothing)
