"""How a run begins, and how it begins again."""

import json
import signal
from pathlib import Path

import pytest
import torch

from ghostclas.errors import BundleError, UsageError
from ghostclas.training import resolve_config, train
from tests.training.killed import run_killed
from tests.training.photos import photo_folder
from tests.training.test_run import settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


def epochs(run: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_stopped_run_goes_on_from_its_directory_alone(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_killed(settings(folder, "loop.save_minutes=0"), run, "step", 3) == -signal.SIGKILL
    assert train(output=run, resume=True).epochs == 2
    assert epochs(run) == [1, 2]


def test_a_killed_run_can_be_resumed_while_its_loader_still_lives(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    killed = settings(folder, "loop.save_minutes=0", "data.workers=1")
    assert run_killed(killed, run, "step", 3) == -signal.SIGKILL
    assert train(output=run, resume=True).epochs == 2


def test_a_setting_that_is_given_on_resume_must_be_the_same(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_killed(settings(folder, "loop.save_minutes=0"), run, "step", 2) == -signal.SIGKILL
    with pytest.raises(UsageError, match=r"other settings:\n +loop.batch_size: 8 -> 4"):
        train(f"{folder}/", settings="loop.batch_size=4", output=run, resume=True)


def test_a_kill_between_the_log_and_the_first_checkpoint_leaves_no_epoch_twice(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # The first file that is saved is the best epoch's, the second is the checkpoint.
    assert run_killed(settings(folder), run, "write", 2) == -signal.SIGKILL
    assert epochs(run) == [1]
    train(output=run, resume=True)
    assert epochs(run) == [1, 2]


def test_a_start_that_failed_does_not_block_the_corrected_one(folder: Path, tmp_path: Path) -> None:
    run, wrong = tmp_path / "run", tmp_path / "wrong.pth"
    torch.save({"unknown.weight": torch.zeros(1)}, wrong)
    with pytest.raises(BundleError):
        train(config=settings(folder, f"model.weights={wrong}"), output=run)
    assert train(config=settings(folder, "schedule.epochs=1"), output=run).epochs == 1


def test_a_start_killed_before_its_settings_were_written_can_be_repeated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    left = Path("runs") / f"{folder.name}-ghostnet_x0_2"
    (left / "checkpoints").mkdir(parents=True)
    (left / ".lock").touch()
    with pytest.raises(UsageError, match=r"no run called \S+ in runs to resume"):
        train(config=settings(folder), resume=True)
    assert train(config=settings(folder, "schedule.epochs=1"), output=left).epochs == 1


def test_a_directory_with_anything_else_in_it_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        train(config=settings(folder), output=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_output_that_is_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"cannot make a run in .*file: .*; choose another --output"):
        train(config=settings(folder), output=file)
    assert file.read_text() == "mine"


def test_python_takes_groups_one_setting_and_a_time(folder: Path, tmp_path: Path) -> None:
    run = train(
        {"path": folder, "resolution": 32, "workers": 0},
        model={"name": "ghostnet_x0_2", "dropout": 0.0},
        recipe="scratch",
        settings="loop.batch_size=8",
        schedule={"epochs": 1, "warmup_epochs": 0},
        loop={"device": "cpu"},
        time="10m",
        output=tmp_path / "run",
    )
    config = resolve_config(str(run.path / "config.yaml"), [])
    assert (config.data.resolution, config.model.dropout, config.loop.batch_size) == (32, 0.0, 8)
    assert (config.loop.time, config.loop.device) == (10, "cpu")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "augment.crop_scale=[0.1",
            r"--set augment.crop_scale=\[0.1 is not valid YAML in line 1, column \d+",
        ),
        ("lr=0.1", r"unknown setting 'lr'; did you mean 'optimizer.lr' or"),
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


def test_without_data_the_flag_is_named() -> None:
    with pytest.raises(UsageError, match="give --data FOLDER"):
        train(recipe="scratch")


def test_a_list_is_read_under_its_root(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        names = sorted(path.relative_to(folder).as_posix() for path in (folder / split).rglob("*.png"))
        lines = [f"{name} {name.split('/')[1]}" for name in names]
        (tmp_path / f"{split}_list.txt").write_text("\n".join(lines))
    with pytest.raises(Exception, match=r"--set data.root=FOLDER"):
        train(config=settings(tmp_path), output=tmp_path / "run")
    config = settings(tmp_path, f"data.root={folder}", "schedule.epochs=1")
    assert train(config=config, output=tmp_path / "run").bad_images == 0
