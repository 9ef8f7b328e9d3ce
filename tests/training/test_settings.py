"""What the settings of a run do to it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostclas.cli import main
from ghostclas.data.source import Source
from ghostclas.spec import IMAGENET_MEAN, IMAGENET_STD
from ghostclas.ssld.run_config import SsldConfig, wants_teacher
from ghostclas.training import TrainConfig, resolve_config, train
from ghostclas.training.input.images import TrainingImages
from ghostclas.training.input.sampling import SeededIndex, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from ghostclas.training.loop import Trainer
from ghostclas.training.objective import CrossEntropy, Views
from ghostclas.training.recipes import recipe_names
from ghostclas.training.run import splits_of
from ghostclas.training.settings import settings_document
from tests.training.photos import photo_folder
from tests.training.runs import settings, weights

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, the last of them with a third of the others' images."""
    folder = photo_folder(tmp_path_factory.mktemp("photos"))
    for number in range(4, 12):
        (folder / "train" / "2" / f"{number}.png").unlink()
    return folder


def one_epoch(folder: Path, *more: str) -> TrainConfig:
    return settings(folder, "schedule.epochs=1", "schedule.warmup_epochs=0", *more)


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights after an epoch with nothing set."""
    return weights(train(config=one_epoch(folder), output=tmp_path_factory.mktemp("plain") / "run").path)


@dataclass
class FirstStep:
    """What the first step of a run saw and did.

    Attributes:
        views: what the loss was taken of.
        smoothing: the label smoothing of that loss.
        convolved: the types of what convolutions gave.
        optimizer: the optimizer's state after the step, as in a checkpoint.
        kind: the optimizer's class.
    """

    views: Views
    smoothing: float
    convolved: set[torch.dtype]
    optimizer: dict[str, Any]
    kind: type[torch.optim.Optimizer]

    @property
    def indices(self) -> list[SeededIndex]:
        return [SeededIndex(*index) for index in self.views.indices.tolist()]


@pytest.fixture
def first_step(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_only: None
) -> Callable[..., FirstStep]:
    """Return a function from settings to the first step of a run with them; the run ends after it."""
    seen: list[Views] = []
    trainers: list[Trainer] = []

    class Short(Trainer):
        def _measure_progress(self) -> None:
            super()._measure_progress()
            self._done = max(self._done, float(self.position.step))

    def begin(*arguments: Any, **named: Any) -> Trainer:
        trainers.append(Short(*arguments, **named))
        return trainers[0]

    whole = CrossEntropy.__call__

    def watched(self: CrossEntropy, forward: Callable[..., Any], views: Views) -> Tensor:
        seen.append(views)
        return whole(self, forward, views)

    monkeypatch.setattr("ghostclas.training.run.Trainer", begin)
    monkeypatch.setattr(CrossEntropy, "__call__", watched)

    def take(*more: str) -> FirstStep:
        convolved = set()

        def watch(module: torch.nn.Module, _: Any, output: Any) -> None:
            if isinstance(module, torch.nn.Conv2d) and module.training:
                convolved.add(output.dtype)

        hook = torch.nn.modules.module.register_module_forward_hook(watch)
        try:
            train(config=one_epoch(folder, "optimizer.weight_decay=0", *more), output=tmp_path / "run")
        finally:
            hook.remove()
        (trainer,) = trainers
        criterion = trainer.criterion
        assert isinstance(criterion, CrossEntropy)
        kind = type(trainer.optimizer.optimizer)
        return FirstStep(seen[0], criterion.smoothing, convolved, trainer.optimizer.state_dict(), kind)

    return take


def labelled(folder: Path) -> Source:
    return splits_of(one_epoch(folder)).train


@pytest.mark.parametrize(
    ("setting", "augment"),
    [
        ("augment.policy=randaugment", AugmentConfig(policy="randaugment")),
        ("augment.policy=trivialaugment", AugmentConfig(policy="trivialaugment")),
        ("augment.policy=autoaugment", AugmentConfig(policy="autoaugment")),
        ("augment.color_jitter=0.4", AugmentConfig(color_jitter=0.4)),
        ("augment.erasing=1", AugmentConfig(erasing=1)),
        ("augment.flip=1", AugmentConfig(flip=1)),
        ("augment.crop_scale=[0.9,1]", AugmentConfig(crop_scale=(0.9, 1))),
    ],
)
def test_a_step_sees_the_views_that_are_set(
    setting: str, augment: AugmentConfig, first_step: Callable[..., FirstStep], folder: Path
) -> None:
    step = first_step("augment.crop_scale=[0.08,1]", setting)
    images = TrainingImages(labelled(folder), augment, 32)
    expected = torch.stack([images[index].image for index in step.indices]).float() / 255
    expected = (expected - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    torch.testing.assert_close(step.views.images, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("setting", ["augment.mixup=1", "augment.cutmix=1"])
def test_a_step_learns_from_mixtures(setting: str, first_step: Callable[..., FirstStep]) -> None:
    targets = first_step(setting).views.targets
    assert targets.shape == (8, 3)
    torch.testing.assert_close(targets.sum(1), torch.ones(8))
    assert ((targets > 0).sum(1) == 2).any()


def test_repeats_show_fewer_images_in_other_views(first_step: Callable[..., FirstStep]) -> None:
    indices = first_step("augment.repeats=2").indices
    assert set(Counter(index.image for index in indices).values()) == {2}
    assert len({index.seed for index in indices}) == 8


def test_a_balanced_loss_weighs_the_rare_class_more(
    first_step: Callable[..., FirstStep], folder: Path
) -> None:
    views = first_step("data.balance=loss").views
    counts = Counter(sample.label for sample in labelled(folder).samples)
    assert counts == {0: 12, 1: 12, 2: 4}
    expected = [28 / 3 / counts[int(label)] for label in views.targets]
    torch.testing.assert_close(views.weights, torch.tensor(expected))


def test_a_balanced_sampler_draws_the_rare_class_as_often(
    first_step: Callable[..., FirstStep], folder: Path
) -> None:
    labels = np.array([sample.label for sample in labelled(folder).samples])
    drawn = epoch_indices(labels, seed=0, epoch=0, balanced=True)
    assert first_step("data.balance=sampler").indices == drawn[:8]
    assert sum(labels[index.image] == 2 for index in drawn) > 6


def test_another_seed_is_another_order(first_step: Callable[..., FirstStep], folder: Path) -> None:
    labels = np.array([sample.label for sample in labelled(folder).samples])
    assert first_step("loop.seed=1").indices == epoch_indices(labels, seed=1, epoch=0)[:8]


def test_the_optimizer_is_the_one_that_is_set(first_step: Callable[..., FirstStep]) -> None:
    step = first_step("optimizer.name=adamw", "optimizer.lr=0.003", "optimizer.body_lr=0.5")
    assert step.kind is torch.optim.AdamW
    rates = {group["head"]: group["peak_lr"] for group in step.optimizer["param_groups"]}
    assert rates == {True: 0.003, False: 0.0015}


def test_clipped_gradients_are_no_longer_than_is_set(first_step: Callable[..., FirstStep]) -> None:
    step = first_step("optimizer.clip_norm=0.1", "optimizer.nesterov=false")
    # After one step without weight decay, the momentum is the gradient.
    moments = [state["momentum_buffer"].flatten() for state in step.optimizer["state"].values()]
    assert torch.cat(moments).norm().item() == pytest.approx(0.1, rel=1e-3)


def test_labels_are_smoothed_as_is_set(first_step: Callable[..., FirstStep]) -> None:
    assert first_step("loop.label_smoothing=0.25").smoothing == 0.25


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_convolutions_compute_in_the_precision_that_is_set(
    precision: str, expected: torch.dtype, first_step: Callable[..., FirstStep]
) -> None:
    step = first_step(f"loop.precision={precision}")
    assert expected in step.convolved
    # A CPU has no fast kernel for the gradients of some depthwise ones in bfloat16.
    assert step.convolved <= {expected, torch.float32}


@pytest.mark.parametrize("keep", ["true", "false"])
def test_the_process_keeps_freed_memory_only_where_it_is_set(
    keep: str, first_step: Callable[..., FirstStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    monkeypatch.setattr("ghostclas.training.run.keep_freed_memory", lambda: asked.append(None))
    first_step(f"loop.keep_memory={keep}")
    assert len(asked) == (keep == "true")


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
def test_compiled_it_learns_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graphs of a whole network run as they were captured.

    Inductor would write C++ for minutes; tests/models/test_cpu.py compiles two blocks with it.
    """
    from ghostclas.training import loop

    captured = []

    def capture(network: torch.nn.Module) -> Callable[..., Any]:
        captured.append(network)
        compiled: Callable[..., Any] = torch.compile(network, dynamic=False, backend="eager")
        return compiled

    monkeypatch.setattr(loop, "compile_training", capture)
    short = ("model.dropout=0", "schedule.epochs=0.4", "optimizer.lr=1e-4")
    eager, compiled = (
        weights(train(config=one_epoch(folder, *short, f"loop.compile={on}"), output=tmp_path / on).path)
        for on in ("false", "true")
    )
    assert len(captured) == 1
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
@pytest.mark.parametrize(("validation", "left"), [(0, 3), (10, 14)])
def test_a_time_budget_leaves_time_for_the_export(
    validation: float, left: float, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghostclas.training import loop
    from ghostclas.training import run as running

    clock, count = Clock(), loop.Trainer._count_correct

    def slow_validation(self: loop.Trainer) -> Tensor:
        clock.now += validation
        return count(self)

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(running, "monotonic", clock.monotonic)
    monkeypatch.setattr(running, "seconds_to_finish", lambda *_, **__: 5.0)
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
