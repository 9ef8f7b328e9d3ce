"""The settings of a distillation, under this version's names and earlier ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostclas.errors import UsageError
from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.run_config import SsldConfig, ssld_config, wants_teacher
from ghostclas.training.config import TrainConfig, differences, dump_config, resolve_config

RECORDS = sorted(Path(__file__).parents[2].glob("docs/builtin/*/config.yaml"))
DATA = {"data": {"path": "photos"}}


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: str(file.parent.name))
def test_the_configuration_of_a_run_of_an_earlier_version_opens_and_is_itself_again(
    file: Path, tmp_path: Path
) -> None:
    schema = SsldConfig if wants_teacher(str(file)) else TrainConfig
    config = resolve_config(str(file), [], DATA, schema=schema)
    again = tmp_path / "config.yaml"
    again.write_text(dump_config(config), encoding="utf-8")
    assert differences(resolve_config(str(again), [], schema=schema), config) == []


def test_a_renamed_setting_is_accepted_wherever_it_is_given(tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text("distil: {teacher: {model: t}, features: 1, fed_epochs: 3}", encoding="utf-8")

    def epochs(*settings: str, recipe: str = str(old)) -> float:
        return resolve_config(recipe, settings, DATA, schema=SsldConfig).distil.blockwise_epochs

    assert epochs() == 3
    assert epochs("distil.blockwise_epochs=2") == 2
    assert epochs("distil.fed_epochs=1", recipe="tiny_imagenet") == 1


def test_training_refuses_a_recipe_that_needs_a_teacher_unless_its_group_is_null() -> None:
    with pytest.raises(UsageError, match="learns from a teacher: use ghostclas ssld --teacher"):
        resolve_config("ssld", [], DATA)
    assert type(resolve_config("ssld", ["distil=null"], DATA)) is TrainConfig
    assert not wants_teacher("ssld", ["distil=null"])


def test_a_distillation_without_a_teacher_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no teacher: give --teacher"):
        ssld_config("t", "photos", settings=["distil=null"])
    with pytest.raises(UsageError, match="there is no teacher: give --teacher"):
        ssld_config(None, "photos")


def test_every_path_of_a_run_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = TeacherConfig(model="timm:resnet10t", weights="w.pth", classes="c.txt", mapping="m.csv")
    distil = (
        ssld_config(teacher, "photos", mined="mined.json", pool="pool", cache="answers").absolute().distil
    )
    assert distil.teacher is not None
    assert distil.teacher.model == "timm:resnet10t"
    found = (distil.teacher.weights, distil.teacher.classes, distil.teacher.mapping)
    assert found == tuple(str(tmp_path / name) for name in ("w.pth", "c.txt", "m.csv"))
    places = (distil.mined, distil.mine.pool, distil.mine.cache)
    assert places == tuple(str(tmp_path / name) for name in ("mined.json", "pool", "answers"))


def test_a_bundle_tells_no_path_of_its_distillation() -> None:
    known = ssld_config(
        "efficientnet_lite0", "/photos", mined="/m.json", pool="/pool", cache="/a"
    ).provenance()
    assert "/" not in json.dumps({**known["config"]["distil"], "taught_by": known["taught_by"]})
