"""A resumed run goes on with the images and settings that it was started with, or says what differs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ghostclas.cli import main
from ghostclas.errors import Terminated, TrainingError, UsageError
from ghostclas.training import TrainConfig, resolve_config, train
from ghostclas.training.config import dump_config
from ghostclas.training.ema import EMA
from ghostclas.training.loop import Trainer
from ghostclas.training.resumption import DataRecord
from ghostclas.training.run import splits_of
from ghostclas.training.rundir import RunDirectory, choose_run
from tests.training.killed import run_killed
from tests.training.photos import photo_folder
from tests.training.runs import assert_same_weights, epochs, settings

pytestmark = pytest.mark.usefixtures("weights_only")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos", train=4, val=2)


def one_epoch(folder: Path | str, *more: str) -> TrainConfig:
    return settings(Path(folder), "schedule.epochs=1", "schedule.warmup_epochs=0", *more)


def started(config: TrainConfig, path: Path) -> Path:
    """Return a run that was stopped before its first step."""
    run, config = RunDirectory(path), config.absolute()
    run.open(config, DataRecord.of(splits_of(config)), resume=False)
    run.close()
    return path


def rename_class(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / split / "2").rename(folder / split / "00")


def add_class(folder: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(folder / split / "2", folder / split / "3")


def remove_half(folder: Path) -> None:
    for path in [*folder.glob("train/*/0.png"), *folder.glob("train/*/1.png")]:
        path.unlink()


def replace_one(folder: Path) -> None:
    (folder / "val" / "1" / "0.png").rename(folder / "val" / "1" / "9.png")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename_class, r"gone: the class '2'; new: the class '00'"),
        (add_class, r"new: the class '3'"),
        (remove_half, r"train: 6 images instead of 12"),
        (replace_one, r"\n +val: the same number of images \(6\), but other files"),
    ],
)
def test_other_images_are_refused_by_name_before_anything_runs(
    change: Callable[[Path], None], told: str, folder: Path, tmp_path: Path
) -> None:
    run = started(one_epoch(folder), tmp_path / "run")
    change(folder)
    before = sorted(run.rglob("*"))
    with pytest.raises(TrainingError, match=f"started with other images than those in(.|\n)*{told}"):
        train(output=run, resume=True)
    assert sorted(run.rglob("*")) == before


def test_a_relative_path_means_the_same_images_in_every_directory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = started(one_epoch("photos"), tmp_path / "run")
    assert resolve_config(str(run / "config.yaml"), []).data.path == str(folder)
    photo_folder(tmp_path / "elsewhere" / "photos", classes=2)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train(output=run, resume=True).epochs == 1
    assert len(json.loads((run / "data.json").read_text(encoding="utf-8"))["train"]["classes"]) == 3


def test_images_that_moved_are_found_where_they_are_said_to_be(folder: Path, tmp_path: Path) -> None:
    run = started(one_epoch(folder), tmp_path / "run")
    moved = folder.rename(tmp_path / "moved")
    assert train(moved, output=run, resume=True).epochs == 1
    assert resolve_config(str(run / "config.yaml"), []).data.path == str(moved)


def test_a_run_of_an_earlier_version_resumes_with_a_note(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = started(one_epoch(folder), tmp_path / "run")
    (run / "data.json").unlink()
    assert train(output=run, resume=True, quiet=False).epochs == 1
    assert "has no record of its images" in capsys.readouterr().err
    rename_class(folder)
    with pytest.raises(TrainingError, match="started with other images"):
        train(output=run, resume=True)


def test_without_a_record_another_number_of_classes_is_an_error_of_ours(folder: Path, tmp_path: Path) -> None:
    run = train(config=one_epoch(folder), output=tmp_path / "run").path
    (run / "data.json").unlink()
    add_class(folder)
    with pytest.raises(TrainingError, match=r"last.pt does not fit the network .* classifier.weight"):
        train(output=run, resume=True)


def test_a_damaged_record_is_named(folder: Path, tmp_path: Path) -> None:
    run = started(one_epoch(folder), tmp_path / "run")
    (run / "data.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"data.json cannot be read .* remove it to go on"):
        train(output=run, resume=True)


def test_settings_that_change_only_how_a_run_works_may_change(folder: Path, tmp_path: Path) -> None:
    run = started(one_epoch(folder, "data.workers=1"), tmp_path / "run")
    changed = ["data.workers=0", "loop.save_minutes=1", "data.max_bad=0.5"]
    assert train(output=run, resume=True, settings=changed).epochs == 1
    assert resolve_config(str(run / "config.yaml"), []).data.max_bad == 0.5


def test_a_longer_run_is_refused_with_the_way_that_works(folder: Path, tmp_path: Path) -> None:
    run = train(config=one_epoch(folder), output=tmp_path / "run").path
    (run / "bundle").mkdir()
    with pytest.raises(UsageError, match=r"schedule.epochs: 1.0 -> 2.0(.|\n)*start another run") as caught:
        train(output=run, resume=True, settings="schedule.epochs=2")
    assert f"--weights {run}, and with another --output" in str(caught.value)


def test_a_longer_run_starts_from_the_checkpoint_of_one_that_has_not_finished(
    folder: Path, tmp_path: Path
) -> None:
    run = started(one_epoch(folder), tmp_path / "early")
    with pytest.raises(UsageError, match="start another run with another --output"):
        train(output=run, resume=True, settings="schedule.epochs=2")
    run = train(config=one_epoch(folder), output=tmp_path / "run").path
    assert not (run / "bundle").exists()
    with pytest.raises(UsageError, match="start another run") as caught:
        train(output=run, resume=True, settings="schedule.epochs=2")
    weights = str(caught.value).partition("--weights ")[2].partition(", and")[0]
    longer = one_epoch(folder, f"model.weights={weights}")
    assert train(config=longer, output=tmp_path / "longer").epochs == 1


def test_auto_starts_a_run_that_is_not_there_and_continues_one_that_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_run("a", None, resume="auto") == (Path("runs/a"), False)
    assert choose_run("a", Path("here"), resume="auto") == (Path("here"), False)
    for place in ("runs/a", "here"):
        Path(place).mkdir(parents=True)
        Path(place, "config.yaml").touch()
    assert choose_run("a", None, resume="auto") == (Path("runs/a"), True)
    assert choose_run("a", None, resume=False) == (Path("runs/a-2"), False)
    assert choose_run("a", Path("here"), resume="auto") == (Path("here"), True)
    assert choose_run("a", Path("here"), resume=False) == (Path("here"), False)
    with pytest.raises(UsageError, match="holds no run to resume"):
        choose_run("a", Path("there"), resume=True)


def command(folder: Path, run: Path, *more: str) -> list[str]:
    changes = [f"--set={setting}" for setting in ("data.resolution=32", "data.workers=0", "loop.device=cpu")]
    changes += [f"--set={setting}" for setting in ("schedule.epochs=2", "schedule.warmup_epochs=0")]
    changes += ["--set=model.name=ghostnet_x0_2", "--set=loop.batch_size=6", "--set=loop.save_minutes=0"]
    return ["train", "--data", str(folder), "--recipe", "scratch", *changes, "--output", str(run), *more]


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    update, calls = EMA.update, [0]

    def interrupted(self: EMA, model: torch.nn.Module, number: int) -> None:
        update(self, model, number)
        calls[0] += 1
        if calls[0] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(EMA, "update", interrupted)


def test_ctrl_c_says_how_to_continue_and_auto_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    interrupt_at(3, monkeypatch)
    assert main(command(folder, run, "--resume", "auto")) == 130
    assert f"To go on: ghostclas train --output {run} --resume" in capsys.readouterr().err
    assert main(command(folder, run, "--resume", "auto")) == 0
    assert "resuming at step 2 of 4" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there, os.kill ends a process at once")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stores_the_run_after_the_step_and_nothing_is_lost(
    number: signal.Signals,
    code: int,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = settings(folder, "loop.save_minutes=60")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(config=config, output=whole)
    document = tmp_path / "mine.yaml"
    document.write_text(dump_config(config))
    arguments = ["train", "--recipe", str(document), "--output", str(stopped)]
    update, calls = EMA.update, [0]

    def signalled(self: EMA, model: torch.nn.Module, step: int) -> None:
        calls[0] += 1
        if calls[0] == 3:
            os.kill(os.getpid(), number)
        update(self, model, step)

    with monkeypatch.context() as patch:
        patch.setattr(EMA, "update", signalled)
        assert main(arguments) == code
    assert f"To go on: ghostclas train --output {stopped} --resume" in capsys.readouterr().err
    assert torch.load(stopped / "checkpoints" / "last.pt", weights_only=True)["position"]["step"] == 3
    assert main(["train", "--output", str(stopped), "--resume"]) == 0
    assert "resuming at step 3 of" in capsys.readouterr().err
    assert_same_weights(whole, stopped)


@pytest.mark.skipif(sys.platform == "win32", reason="there, os.kill ends a process at once")
def test_a_signal_during_the_last_validation_leaves_that_validation_to_the_next_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(folder, "schedule.epochs=1", "loop.save_minutes=60")
    count = Trainer._count_correct

    def signalled(self: Trainer) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return count(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_count_correct", signalled)
        with pytest.raises(Terminated):
            train(config=config, output=tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()
    train(config=config, output=tmp_path / "run", resume=True)
    assert epochs(tmp_path / "run") == [1]
    assert (tmp_path / "run" / "checkpoints" / "best.pt").is_file()


def test_without_the_best_checkpoint_the_last_epoch_is_exported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config=one_epoch(folder), output=tmp_path / "run").path
    (run / "checkpoints" / "best.pt").unlink()
    train(output=run, resume=True, quiet=False)
    assert "best.pt is missing: the best of the epochs from here on is exported" in capsys.readouterr().err
    best, last = (
        torch.load(run / "checkpoints" / f"{name}.pt", weights_only=True) for name in ("best", "last")
    )
    assert best["epoch"] == 1
    assert all(torch.equal(value, last["ema"][name]) for name, value in best["ema"].items())


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
