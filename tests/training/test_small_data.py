"""The recipes for small folders, as they are called, and half precision."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

import ghostclas
from ghostclas.cli import main
from ghostclas.exporting.sources import open_trained
from tests.training.photos import photo_folder
from tests.training.runs import WHOLE, settings

SHORT = (
    "data.resolution=64",
    "data.progressive=[]",
    "data.workers=0",
    "loop.batch_size=8",
    "loop.device=cpu",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("recipe", ["quick", "int8", pytest.param("finetune", marks=pytest.mark.slow)])
def test_a_recipe_for_small_folders_starts_from_the_built_in_weights_and_ends_with_a_bundle(
    recipe: str, folder: Path, tmp_path: Path
) -> None:
    schedule = {"epochs": 2, "warmup_epochs": 0, "head_epochs": 1}
    run = ghostclas.train(folder, recipe=recipe, output=tmp_path / "run", settings=SHORT, schedule=schedule)
    assert yaml.safe_load((run.path / "config.yaml").read_text())["model"]["weights"] == "default"
    # The body learned for one epoch at a low rate: it is still close to what it started from.
    learned, built_in = open_trained(run.path).model, open_trained("default").model
    name = next(name for name, value in learned.state_dict().items() if value.ndim == 4)
    ours, theirs = learned.state_dict()[name], built_in.state_dict()[name]
    assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.9
    photo = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    assert main(["predict", str(photo), "--model", str(run.path), "--top", "1"]) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("weights_only")
def test_half_precision_with_loss_scaling_learns(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, *WHOLE, "loop.precision=fp16", "schedule.epochs=20")
    run = ghostclas.train(config=config, output=tmp_path / "run")
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert max(entry["top1"] for entry in log) == 100


def test_the_public_function_is_the_rooms(folder: Path) -> None:
    assert ghostclas.train is sys.modules["ghostclas.training"].train
