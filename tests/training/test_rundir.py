"""The directory of a run: whose it is, and what is written into it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ghostclas.errors import BundleError, TrainingError, UsageError
from ghostclas.training import train
from ghostclas.training.rundir import write_text
from tests.full_disk import largest_file
from tests.training.runs import WHOLE, settings


def test_a_directory_that_holds_a_run_is_not_overwritten(finished: Path, folder: Path) -> None:
    before = sorted(finished.rglob("*"))
    with pytest.raises(UsageError, match="already holds a run; continue it with --resume"):
        train(config=settings(folder, *WHOLE), output=finished)
    assert sorted(finished.rglob("*")) == before


def test_a_second_process_in_the_same_directory_is_refused(finished: Path, folder: Path) -> None:
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(finished / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TrainingError, match="another process is training"):
            train(config=settings(folder, *WHOLE), output=finished, resume=True)
    finally:
        holder.communicate(b"\n")


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_text(path, "before\n")
    with largest_file(100), pytest.raises(TrainingError, match=r"cannot write .*log.jsonl: File too large"):
        write_text(path, "x" * 1000)
    assert path.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("weights_only")
def test_a_start_that_failed_does_not_block_the_corrected_one(folder: Path, tmp_path: Path) -> None:
    run, wrong = tmp_path / "run", tmp_path / "wrong.pth"
    torch.save({"unknown.weight": torch.zeros(1)}, wrong)
    with pytest.raises(BundleError):
        train(config=settings(folder, f"model.weights={wrong}"), output=run)
    assert train(config=settings(folder, "schedule.epochs=1"), output=run).epochs == 1


@pytest.mark.usefixtures("weights_only")
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
