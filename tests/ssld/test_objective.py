"""A student learns its teacher's answers to the same views, and no labels."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from ghostclas.errors import DataError, UsageError
from ghostclas.ssld import train_student
from ghostclas.ssld.torch_teacher import TorchTeacher
from ghostclas.training import train
from ghostclas.training.objective import Views
from ghostclas.zoo import locate
from tests.ssld.distilling import distilling, normalised, objective
from tests.training.killed import run_killed
from tests.training.photos import photo_folder
from tests.training.runs import WHOLE, assert_same_weights


def test_a_recipe_that_distils_needs_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this recipe learns from a teacher: use ghostclas ssld --teacher"):
        train(photo_folder(tmp_path / "photos"), recipe="ssld", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_teacher_sees_the_pixels_that_the_student_sees(
    folder: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, config, _ = objective(folder, teacher)
    seen: list[torch.Tensor] = []
    answer = TorchTeacher.answer

    def watched(self: TorchTeacher, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return answer(self, pixels)

    monkeypatch.setattr(TorchTeacher, "answer", watched)
    pixels = torch.randint(0, 256, (4, 3, 32, 32)).float()
    views = Views(normalised(config, pixels), torch.zeros(4), torch.ones(4), torch.zeros(4, 2).long(), 0.0)
    found(lambda images: torch.zeros(4, 3), views)
    torch.testing.assert_close(seen[0], pixels, atol=1e-3, rtol=0)


def test_a_teacher_of_another_size_is_refused_with_both_sizes(folder: Path, tmp_path: Path) -> None:
    from tests.ssld.onnx_teacher import onnx_file

    file = onnx_file(tmp_path / "t.onnx", side=64)
    (tmp_path / "map.csv").write_text("0,0\n1,1\n2,2\n")
    mapping = f"distil.teacher.mapping={tmp_path / 'map.csv'}"
    with pytest.raises(UsageError) as caught:
        objective(folder, file, mapping)
    assert "takes images of 64 x 64 and would see 32 x 32" in str(caught.value)
    assert "--set distil.resolution=64 scales the student's views for it" in str(caught.value)
    found, _, _ = objective(folder, file, mapping, "distil.resolution=64")
    assert found.targets(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.slow
def test_a_student_learns_from_the_teacher_though_every_label_is_wrong(
    folder: Path, teacher: Path, tmp_path: Path
) -> None:
    root = photo_folder(tmp_path / "photos")
    for old, new in (("0", "a"), ("1", "b"), ("2", "c")):
        (root / "train" / old).rename(root / "train" / new)
    for old, new in (("a", "1"), ("b", "2"), ("c", "0")):
        (root / "train" / old).rename(root / "train" / new)
    config = distilling(root, f"distil.teacher.model={teacher}", *WHOLE)
    run = train_student(config=config, output=tmp_path / "run")
    assert run.top1 == 100
    assert (run.path / "report" / "index.html").exists()
    manifest = (run.bundle / "manifest.json").read_text()
    assert f'"taught_by": "{teacher.name}"' in manifest
    assert str(tmp_path) not in manifest


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("distil.views=2",)], ids=["on the fly", "stored"])
@pytest.mark.usefixtures("weights_only")
def test_a_killed_distillation_ends_with_the_weights_of_the_uninterrupted_one(
    more: tuple[str, ...], folder: Path, teacher: Path, tmp_path: Path
) -> None:
    config = distilling(folder, f"distil.teacher.model={teacher}", "loop.save_minutes=0", *more)
    if more:
        kept = config.distil.model_copy(update={"cache": str(tmp_path / "cache")})
        config = config.model_copy(update={"distil": kept})
    train_student(config=config, output=tmp_path / "whole")
    assert run_killed(config, tmp_path / "broken", "step", 3) == -signal.SIGKILL
    train_student(config=config, output=tmp_path / "broken", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_the_teacher_may_be_the_built_in_model_only_for_its_classes(folder: Path) -> None:
    assert locate("default").bundle_path.exists()
    with pytest.raises(
        DataError, match=r"the teacher default \(200 outputs\) does not know 3 of the 3 classes"
    ):
        objective(folder, Path("default"))
