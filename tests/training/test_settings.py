"""What the settings of a run do to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostclas.cli import main
from ghostclas.spec import Metric
from ghostclas.ssld.run_config import SsldConfig, wants_teacher
from ghostclas.training import TrainConfig, resolve_config, train
from ghostclas.training.recipes import recipe_names
from ghostclas.training.settings import settings_document
from tests.training.photos import photo_folder
from tests.training.test_run import settings, weights

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, the last of them with a third of the others' images."""
    folder = photo_folder(tmp_path_factory.mktemp("photos"))
    for number in range(4, 12):
        (folder / "train" / "2" / f"{number}.png").unlink()
    return folder


@pytest.fixture
def weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """End a run with its last checkpoint: the export takes longer than these epochs."""
    nothing = Metric(dataset="none", images=0, top1=0, through="nothing")
    monkeypatch.setattr("ghostclas.training.run._finish", lambda *_: nothing)


def one_epoch(folder: Path, *more: str) -> TrainConfig:
    return settings(folder, "schedule.epochs=1", "schedule.warmup_epochs=0", *more)


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights after an epoch with nothing set."""
    return weights(train(config=one_epoch(folder), output=tmp_path_factory.mktemp("plain") / "run").path)


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize(
    "setting",
    [
        "augment.policy=randaugment",
        "augment.policy=trivialaugment",
        "augment.policy=autoaugment",
        "augment.color_jitter=0.4",
        "augment.erasing=1",
        "augment.mixup=0.2",
        "augment.cutmix=1",
        "augment.repeats=2",
        "data.balance=loss",
        "data.balance=sampler",
        "optimizer.name=adamw",
        "optimizer.clip_norm=0.1",
        "optimizer.body_lr=0.5",
        "loop.label_smoothing=0",
        "loop.precision=bf16",
        "loop.seed=1",
    ],
)
def test_a_setting_changes_what_is_learned(
    setting: str, folder: Path, plain: dict[str, Tensor], tmp_path: Path
) -> None:
    learned = weights(train(config=one_epoch(folder, setting), output=tmp_path / "run").path)
    assert all(value.isfinite().all() for value in learned.values())
    assert not all(torch.equal(value, plain[name]) for name, value in learned.items())


def test_resolutions_follow_one_another(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, "data.progressive=[[0.5,32]]", "data.resolution=64")
    run = train(config=config, output=tmp_path / "run")
    assert [entry["resolution"] for entry in entries(run.path)] == [32, 64]
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert manifest["preprocess"]["crop"] == 64


@pytest.fixture
def fixed_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms that do not look at the batch: with them, a batch and its parts have the same gradients."""

    def normalise(self: torch.nn.BatchNorm2d, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)

    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", normalise)


def assert_equal_but_for_rounding(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.usefixtures("fixed_norms", "weights_only")
def test_micro_batches_come_to_the_whole_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learned(name: str, *more: str) -> dict[str, Tensor]:
        config = one_epoch(folder, "model.dropout=0", *more)
        return weights(train(config=config, output=tmp_path / name).path)

    whole = learned("whole")
    assert_equal_but_for_rounding(learned("parts", "loop.accumulate=4"), whole)

    from ghostclas.models.ghostnet import GhostNet

    forward = GhostNet.forward

    def small_memory(self: GhostNet, x: Tensor) -> Tensor:
        if self.training and len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, x)

    monkeypatch.setattr(GhostNet, "forward", small_memory)
    assert_equal_but_for_rounding(learned("halved"), whole)


@pytest.mark.slow
@pytest.mark.usefixtures("weights_only")
def test_compiled_it_learns_the_same(folder: Path, tmp_path: Path) -> None:
    short = ("model.dropout=0", "schedule.epochs=0.4", "optimizer.lr=1e-4")
    eager, compiled = (
        weights(train(config=one_epoch(folder, *short, f"loop.compile={on}"), output=tmp_path / on).path)
        for on in ("false", "true")
    )
    for name, value in compiled.items():
        torch.testing.assert_close(value, eager[name], atol=1e-3, rtol=1e-2, msg=name)


class Clock:
    """A clock on which every look takes a tenth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.1
        return self.now


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize(("validation", "left"), [(0, 5), (10, 15)])
def test_a_time_budget_leaves_time_for_the_export(
    validation: float, left: float, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghostclas.training import loop

    clock, count = Clock(), loop.Trainer._count_correct

    def slow_validation(self: loop.Trainer) -> Tensor:
        clock.now += validation
        return count(self)

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop.Trainer, "_count_correct", slow_validation)
    config = settings(folder, "schedule.epochs=10000", "loop.time=1")
    run = train(config=config, output=tmp_path / "run")
    assert run.epochs < 10000
    assert clock.now <= 60 - left
    rates = [entry["lr"] for entry in entries(run.path)]
    assert rates[-1] < 0.5 * max(rates)


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_settings_document_is_the_recipe_again(recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    schema = SsldConfig if wants_teacher(recipe) else TrainConfig
    path.write_text(settings_document(recipe, schema=schema))
    data = {"data": {"path": "photos/"}}
    again = resolve_config(str(path), [], data, schema=schema)
    assert again == resolve_config(recipe, [], data, schema=schema)


def test_the_settings_document_says_what_each_setting_takes() -> None:
    lines = [" ".join(line.split()) for line in settings_document("ssld", schema=SsldConfig).splitlines()]
    assert 'name: "sgd" # sgd, adamw' in lines
    assert "ema: 0.9999 # number from 0 below 1" in lines
    assert "trackers: [] # list of (tensorboard, wandb, mlflow)" in lines
    assert "teacher: null # group of settings or null" in lines
    assert "top_k: 4000 # whole number from 1" in lines


def test_the_page_about_training_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--settings"]) == 0
    assert capsys.readouterr().out in DOCUMENT.read_text()


def test_a_group_and_a_list_are_named_as_such(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting, message in (
        ("optimizer=adamw", "optimizer is a group of settings, such as optimizer.name; got 'adamw'"),
        ("loop.trackers=wandb", "loop.trackers is a list, such as [wandb]; got 'wandb'"),
    ):
        assert main(["train", "--data", str(folder), "--set", setting]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.usefixtures("weights_only")
def test_a_run_is_repeated_by_its_configuration(
    folder: Path, plain: dict[str, Tensor], tmp_path: Path
) -> None:
    first = train(config=one_epoch(folder), output=tmp_path / "first").path
    document = shutil.copy(first / "config.yaml", tmp_path / "again.yaml")
    again = weights(train(recipe=str(document), output=tmp_path / "again").path)
    assert all(torch.equal(value, plain[name]) for name, value in again.items())
