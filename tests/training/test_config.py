from pathlib import Path

import pytest

import ghostclas
from ghostclas.errors import DataError, UsageError
from ghostclas.ssld.run_config import SsldConfig, wants_teacher
from ghostclas.training import train
from ghostclas.training.config import (
    DataConfig,
    TrainConfig,
    differences,
    dump_config,
    minutes,
    resolve_config,
)
from ghostclas.training.recipes import recipe_names

DATA = {"data": {"path": "photos"}}


def test_every_recipe_is_a_valid_configuration() -> None:
    for name in recipe_names():
        schema = SsldConfig if wants_teacher(name) else TrainConfig
        assert resolve_config(name, [], DATA, schema=schema).data.path == "photos"


def test_settings_win_over_the_recipe_and_defaults() -> None:
    config = resolve_config("scratch", ["optimizer.lr=4e-2", "model.name=ghostnet_x0_5"], DATA)
    assert config.optimizer.lr == 0.04
    assert config.model.name == "ghostnet_x0_5"
    assert config.schedule.epochs == resolve_config("scratch", [], DATA).schedule.epochs


def test_an_unknown_key_is_refused_with_the_nearest_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown setting 'optimizer.lrr'; did you mean 'optimizer.lr'"):
        resolve_config("scratch", ["optimizer.lrr=1"], DATA)


def test_an_unknown_key_in_a_recipe_file_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("schedule: {epoch: 3}\n")
    with pytest.raises(UsageError, match=r"'schedule.epoch'; did you mean 'schedule.epochs'"):
        resolve_config(str(recipe), [], DATA)


HOSTILE_SETTINGS = {
    "optimizer.lr=.inf": "optimizer.lr: Input should be a finite number, got inf",
    "loop.ema=.nan": "loop.ema: Input should be a finite number, got nan",
    "data.std=[0,0,0]": "data.std takes numbers from 0.001 to 1000.0, got [0.0, 0.0, 0.0]",
    "data.std=[.nan,1,1]": "data.std.0: Input should be a finite number, got nan",
    "data.mean=[1e+300,0,0]": "data.mean takes numbers from -1000.0 to 1000.0, got [1e+300, 0.0, 0.0]",
    "data.eval_resize=100": "data.eval_resize 100 is smaller than the resolution 224",
    "loop.seed=-1": "loop.seed: Input should be greater than or equal to 0, got -1",
    "schedule.epochs=1e+300": "schedule.epochs: Input should be less than or equal to 1000000",
    "loop.batch_size=10000000": "loop.batch_size: Input should be less than or equal to 1000000",
    "data.workers=100000": "data.workers: Input should be less than or equal to 1024",
    "augment.crop_scale=[1,0.1]": "augment.crop_scale goes from the smaller to the larger",
    "augment.crop_ratio=[0,1]": "augment.crop_ratio.0: Input should be greater than or equal to 0.01",
    "x=2020-13-45": "holds a value that is none: month must be in 1..12",
    "x=!!timestamp no": "holds a value that is none",
    f"x={'9' * 5000}": "holds a value that is none: Exceeds the limit",
    f"x={'[' * 50_000}": "is nested too deeply",
    f"x={'- ' * 500}": "is nested too deeply",
    "x=&a [*a]": "uses an alias (*name); write the value itself",
    f"a{'.a' * 3000}=1": "unknown setting 'a.a.a",
    f"loop.trackers=[{'x,' * 3000}]": "and 2992 more",
}


@pytest.mark.parametrize("setting", HOSTILE_SETTINGS, ids=lambda setting: setting[:30])
def test_a_setting_that_no_run_could_have_is_refused_in_few_words(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_config("scratch", [setting], DATA)
    assert HOSTILE_SETTINGS[setting] in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_recipe_that_is_hostile_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    for text, message in (
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "uses an alias"),
        ("\n".join(" " * depth + "a:" for depth in range(400)), "is nested too deeply"),
        ("#" * 200_000, "it has 200,000 bytes or more; the limit is 100,000"),
        ("date: 2020-13-45\n", "holds a value that is none: month must be in 1..12"),
    ):
        recipe.write_text(text)
        with pytest.raises(UsageError, match=message):
            resolve_config(str(recipe), [], DATA)
    for name in (f"{'r' * 300}.yaml", "r" * 300):
        with pytest.raises(
            UsageError, match=r"cannot read the recipe .*: File name too long|no recipe is called"
        ):
            resolve_config(name, [], DATA)


@pytest.mark.parametrize("setting", ["optimizer.lr", "=3", "a b=3", "optimizer..lr=1"])
def test_a_setting_must_be_key_value(setting: str) -> None:
    with pytest.raises(UsageError, match="--set takes key=value"):
        resolve_config(None, [setting], DATA)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.lr=fast", "optimizer.lr: .* got 'fast'"),
        ("data.resolution=100", "data.resolution: .*multiple of 32"),
        ("loop.accumulate=7", "not a multiple of loop.accumulate 7"),
    ],
)
def test_a_value_that_does_not_fit_is_named(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_config(None, [setting], DATA)


def test_an_unknown_recipe_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="no recipe is called 'scrach'; did you mean 'scratch'"):
        resolve_config("scrach", [], DATA)


def test_a_configuration_without_data_says_so() -> None:
    with pytest.raises(UsageError, match="give --data FOLDER"):
        resolve_config(None, [])


def test_the_written_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = resolve_config("scratch", ["data.progressive=[[0.5, 96]]", "optimizer.clip_norm=1"], DATA)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert resolve_config(str(path), []) == config


def test_differences_name_the_setting_and_both_values() -> None:
    a = TrainConfig(data=DataConfig(path="a"))
    b = resolve_config(None, ["optimizer.lr=0.1"], {"data": {"path": "a"}})
    assert differences(a, b) == ["optimizer.lr: 0.4 -> 0.1"]
    assert differences(a, a) == []


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ([], (1, 1)),
        (["schedule.epochs=15"], (1, 1)),
        (["schedule.epochs=1"], (0.2, 0.2)),
        (["schedule.epochs=4"], (0.8, 0.8)),
        (["schedule.epochs=100"], (1, 1)),
        (["schedule.epochs=1", "schedule.head_epochs=1"], (0.2, 1)),
        (["schedule.warmup_epochs=0.5", "schedule.epochs=1"], (0.5, 0.2)),
    ],
)
def test_the_start_of_a_recipe_is_at_most_a_fifth_of_the_epochs_that_are_chosen(
    settings: list[str], start: tuple[float, float]
) -> None:
    schedule = resolve_config("finetune", settings, {"data": {"path": "a"}}).schedule
    assert (schedule.warmup_epochs, schedule.head_epochs) == start


def test_the_start_is_as_short_where_the_epochs_are_no_setting_but_an_argument() -> None:
    schedule = resolve_config("finetune", [], {"data": {"path": "a"}, "schedule": {"epochs": 2}}).schedule
    assert (schedule.epochs, schedule.head_epochs) == (2, 0.4)
    schedule = resolve_config(None, ["schedule.epochs=2"], {"data": {"path": "a"}}).schedule
    assert schedule.warmup_epochs == 0.4, "of no recipe, but by default"


def test_a_run_from_before_keeps_its_start_when_it_is_resumed(tmp_path: Path) -> None:
    before = TrainConfig.model_validate({"data": {"path": "a"}, "schedule": {"epochs": 1, "head_epochs": 1}})
    stored = tmp_path / "config.yaml"
    stored.write_text(dump_config(before), encoding="utf-8")
    assert resolve_config(str(stored), ["schedule.epochs=1"]) == before


def test_progressive_resolutions_hold_until_their_fraction() -> None:
    data = DataConfig(path="a", resolution=128, progressive=((0.4, 64), (0.8, 96)))
    assert [data.resolution_at(p) for p in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [64, 64, 96, 96, 128, 128]


def test_progressive_resolutions_are_never_larger_than_the_last() -> None:
    data = DataConfig(path="a", resolution=96, progressive=((0.7, 128),))
    assert [data.resolution_at(p) for p in (0, 1)] == [96, 96]


@pytest.mark.parametrize(("text", "expected"), [("90s", 1.5), ("30m", 30), ("2h", 120), ("15", 15)])
def test_durations(text: str, expected: float) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0m", "soon", "-3m", "3d"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a time is written like"):
        minutes(text)


def test_the_public_function_takes_groups_of_settings_and_refuses_unknown_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown setting 'schedule.epoch'; did you mean 'schedule.epochs'"):
        ghostclas.train("photos/", schedule={"epoch": 3}, output=tmp_path / "run")
    with pytest.raises(UsageError, match=r"unknown setting 'optimiser'"):
        ghostclas.train("photos/", optimiser={"lr": 3}, output=tmp_path / "run")
    with pytest.raises(DataError, match="photos"):
        ghostclas.train("photos/", schedule={"epochs": 3}, output=tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "augment.crop_scale=[0.1",
            r"--set augment.crop_scale=\[0.1 is not valid YAML in line 1, column \d+",
        ),
        ("lr=0.1", r"unknown setting 'lr'; did you mean 'optimizer.lr'\?"),
        ("loop.epochs=3", r"unknown setting 'loop.epochs'; did you mean 'schedule.epochs'\?"),
        ("optimizer.learning_rate=1", r"'optimizer.learning_rate'; did you mean 'optimizer.lr'\?"),
        ("loop.batch=8", r"unknown setting 'loop.batch'; did you mean 'loop.batch_size'\?"),
        ("imgsz=128", r"unknown setting 'imgsz'; did you mean 'data.resolution'\?"),
        ("optimizer.lr", "--set takes key=value"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(folder: Path, setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(folder, settings=setting)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"schedule: {epochs: 1", "is not valid YAML in line"),
        (b"- epochs\n- 1\n", "is no mapping of settings"),
        (b"\xff\xfe\x00", "it is not UTF-8 text"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(
    folder: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        train(folder, recipe=recipe, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
