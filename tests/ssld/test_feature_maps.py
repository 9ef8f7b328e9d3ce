"""A student learns its teacher's feature maps besides its logits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ghostclas.errors import UsageError
from ghostclas.models.maps import map_channels
from ghostclas.ssld import train_student
from ghostclas.ssld.feature_maps import FeatureDistillation, ProjectedStudent
from ghostclas.ssld.losses import feature_map_loss
from ghostclas.ssld.run_config import SsldConfig
from ghostclas.training import resolve_config
from ghostclas.training.objective import Views
from ghostclas.training.optim import build_optimizer
from tests.models.mapped import network_of
from tests.ssld.distilling import distilling, normalised, objective
from tests.training.killed import run_killed
from tests.training.runs import WHOLE, assert_same_weights

FEATURES = "distil.features=0.5"


def following(folder: Path, teacher: Path, *more: str) -> SsldConfig:
    return distilling(folder, f"distil.teacher.model={teacher}", FEATURES, *more)


def distillation(folder: Path, teacher: Path, *more: str) -> Any:
    return objective(folder, teacher, FEATURES, *more)[0]


def test_the_loss_is_that_of_the_answers_and_a_weight_times_what_is_missed(
    folder: Path, teacher: Path
) -> None:
    found = distillation(folder, teacher)
    assert isinstance(found, FeatureDistillation)
    student = network_of("ghostnet_x0_5")
    trained = found.wrap(student).eval()
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    images = normalised(following(folder, teacher), pixels)
    views = Views(images, torch.zeros(4), torch.ones(4), torch.zeros(4, 2).long(), 0.0)
    with torch.no_grad():
        outputs, targets = trained(images), found.targets(images)
        torch.testing.assert_close(outputs.logits, student(images))
        answers = found.loss(outputs.logits, targets.logits, views.weights)
        features = sum(
            feature_map_loss(ours, theirs, views.weights)
            for ours, theirs in zip(outputs.maps, targets.maps, strict=True)
        )
        assert found(trained, views).item() == pytest.approx((answers + 0.5 * features).item(), rel=1e-4)
    alone = distillation(folder, teacher, "distil.features=0")
    torch.testing.assert_close(alone.targets(images), targets.logits)


def test_in_blockwise_epochs_no_gradient_leaves_a_block(folder: Path, teacher: Path) -> None:
    found = distillation(folder, teacher, "distil.blockwise_epochs=1")
    trained = found.wrap(network_of("ghostnet_x0_2"))
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    inputs: list[int] = []

    def forward(*given: Any) -> Any:
        inputs.append(len(given))
        outputs = trained(*given)
        # The answers alone: what reaches the first blocks through them?
        (gradient,) = torch.autograd.grad(
            outputs.logits.sum(), [trained.student.stem.conv.weight], retain_graph=True, allow_unused=True
        )
        reached.append(gradient is not None)
        return outputs

    reached: list[bool] = []
    for epoch in (0.0, 0.9, 1.0):
        images = normalised(following(folder, teacher), pixels)
        loss = found(forward, Views(images, torch.zeros(4), torch.ones(4), torch.zeros(4, 2).long(), epoch))
        assert loss.requires_grad
    assert inputs == [2, 2, 1]
    assert reached == [False, False, True]


def test_projections_begin_anew_as_the_classifier_does(folder: Path, teacher: Path) -> None:
    student = network_of("ghostnet_x0_5")
    # Channels of its own are taken as they are.
    assert not [*ProjectedStudent(student, map_channels(student)).projections.parameters()]
    projected = ProjectedStudent(student, [16, 24, 40, 112, 320])
    config = resolve_config("scratch", ["optimizer.body_lr=0.1"], {"data": {"path": "x"}}).optimizer
    names = distillation(folder, teacher).heads()
    groups = build_optimizer(projected, config, batch_size=512, heads=names).param_groups
    heads = {id(parameter) for group in groups if group["head"] for parameter in group["params"]}
    expected = {*student.classifier.parameters(), *projected.projections.parameters()}
    assert heads == {id(parameter) for parameter in expected}


@pytest.mark.parametrize("more", ["distil.views=2", "distil.resolution=64"])
def test_maps_that_cannot_be_compared_are_refused(folder: Path, teacher: Path, more: str) -> None:
    with pytest.raises(UsageError, match=r"distil\.features .*distil\.(views=0|features=0)"):
        following(folder, teacher, more)


def test_the_channels_of_maps_may_differ_but_not_in_blockwise_epochs(folder: Path, teacher: Path) -> None:
    student = network_of("ghostnet_x0_5")
    followed = distillation(folder, teacher).wrap(student)
    assert len([*followed.projections.parameters()]) == 10
    with pytest.raises(
        UsageError, match=r"they have 4, 8, 8, 24 channels, and the student takes 8, 12, 20, 56"
    ):
        distillation(folder, teacher, "distil.blockwise_epochs=1").wrap(student)
    with pytest.raises(
        UsageError, match=r"blockwise_epochs 2 leaves none of schedule.epochs 2 to train the student"
    ):
        following(folder, teacher, "distil.blockwise_epochs=2")
    with pytest.raises(UsageError, match=r"distil\.blockwise_epochs needs the teacher's maps"):
        following(folder, teacher, "distil.blockwise_epochs=1", "distil.features=0")


def test_a_teacher_or_student_whose_maps_are_not_known_is_refused(
    folder: Path, teacher: Path, tmp_path: Path
) -> None:
    from tests.ssld.onnx_teacher import onnx_file

    file = onnx_file(tmp_path / "t.onnx", side=32)
    (tmp_path / "map.csv").write_text("0,0\n1,1\n2,2\n")
    mapping = f"distil.teacher.mapping={tmp_path / 'map.csv'}"
    with pytest.raises(UsageError, match=r"feature maps, and .*t\.onnx does not offer its own"):
        distillation(folder, file, mapping)
    with pytest.raises(UsageError, match="the student is a Linear"):
        distillation(folder, teacher).wrap(torch.nn.Linear(2, 2))


@pytest.mark.slow
def test_a_run_that_follows_maps_leaves_an_ordinary_bundle(
    folder: Path, teacher: Path, tmp_path: Path
) -> None:
    config = following(folder, teacher, *WHOLE, "distil.blockwise_epochs=10")
    run = train_student(config=config, output=tmp_path / "run")
    assert run.top1 == 100
    manifest = (run.bundle / "manifest.json").read_text()
    assert f'"taught_by": "{teacher.name}"' in manifest


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [("model.name=ghostnet_x0_5",), ("distil.blockwise_epochs=1", "distil.batch_norm=eval")],
    ids=["projected", "fed"],
)
@pytest.mark.usefixtures("weights_only")
def test_a_killed_run_ends_with_the_weights_of_the_uninterrupted_one(
    more: tuple[str, ...], folder: Path, teacher: Path, tmp_path: Path
) -> None:
    config = following(folder, teacher, "loop.save_minutes=0", *more)
    train_student(config=config, output=tmp_path / "whole")
    assert run_killed(config, tmp_path / "broken", "step", 3) == -signal.SIGKILL
    train_student(config=config, output=tmp_path / "broken", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
