"""What stops a run from outside: it says so in one line, and the last good checkpoint is intact."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ghostclas.errors import MissingExtraError, TrainingError, UsageError
from ghostclas.training import train
from ghostclas.training.checkpoint import load_checkpoint
from ghostclas.training.ema import EMA
from ghostclas.training.rundir import write_text
from tests.training.photos import photo_folder
from tests.training.test_run import settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_run_with_the_checkpoint_before_it_intact(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    update, limits = EMA.update, []

    def fill_disk_at_step_three(self: EMA, model: object, step: int) -> None:
        update(self, model, step)  # type: ignore[arg-type]
        if step == 3:
            limits.append(largest_file(10_000))
            limits[-1].__enter__()

    monkeypatch.setattr(EMA, "update", fill_disk_at_step_three)
    try:
        with pytest.raises(TrainingError, match=r"cannot write the checkpoint .*last.pt") as caught:
            train(config=settings(folder, "loop.save_minutes=0"), output=run)
    finally:
        for limit in limits:
            limit.__exit__(None, None, None)
    assert "make room, then continue with --resume" in str(caught.value)
    state = load_checkpoint(run / "checkpoints" / "last.pt")
    assert state
    assert state["position"]["step"] == 2
    assert not list(run.rglob("*.tmp"))


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_text(path, "before\n")
    with largest_file(100), pytest.raises(TrainingError, match=r"cannot write .*log.jsonl: File too large"):
        write_text(path, "x" * 1000)
    assert path.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_dead_loader_worker_stops_the_run_and_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = EMA.update

    def kill_the_worker(self: EMA, model: object, step: int) -> None:
        update(self, model, step)  # type: ignore[arg-type]
        if step == 2:
            for worker in multiprocessing.active_children():
                assert worker.pid
                os.kill(worker.pid, signal.SIGKILL)
                worker.join()

    monkeypatch.setattr(EMA, "update", kill_the_worker)
    with pytest.raises(TrainingError, match=r"a data loader worker died.*\n.*--resume"):
        train(
            config=settings(folder, "data.workers=1", "loop.batch_size=2", "loop.save_minutes=0"),
            output=tmp_path / "run",
        )
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert state
    assert state["position"]["step"] >= 2


def test_synchronized_batch_norm_is_refused_on_a_cpu(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sync_bn needs GPUs"):
        train(config=settings(folder, "loop.sync_bn=true"), output=tmp_path / "run")


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ghostclas\[wandb\]'"):
        train(config=settings(folder, "loop.trackers=[wandb]"), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


TRACKED = """
import sys
from pathlib import Path
from ghostclas.training import resolve_config, train
data, tracker = sys.argv[1:]
settings = [
    "model.name=ghostnet_x0_2", "data.resolution=32", "data.workers=0", "schedule.epochs=2",
    "loop.batch_size=12", "loop.device=cpu", f"loop.trackers=[{tracker}]",
]
train(config=resolve_config("scratch", settings, {"data": {"path": data}}), output="run")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tracker", "trace"), [("wandb", "wandb/offline-run-*/*.wandb"), ("mlflow", "mlflow.db")]
)
def test_a_tracker_follows_a_run(tracker: str, trace: str, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip(tracker, reason=f"needs {tracker}, which brings half a hundred packages")
    offline = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRACKED, str(folder), tracker]
    subprocess.run(command, cwd=tmp_path, env=offline, check=True, capture_output=True)
    assert list(tmp_path.glob(trace))


@pytest.mark.slow
def test_bf16_accumulation_balance_clipping_and_tensorboard_train_together(
    folder: Path, tmp_path: Path
) -> None:
    run = train(
        config=settings(
            folder,
            "loop.precision=bf16",
            "loop.accumulate=2",
            "loop.trackers=[tensorboard]",
            "data.balance=sampler",
            "optimizer.clip_norm=20",
            "loop.batch_size=12",
            "model.dropout=0",
            "schedule.epochs=20",
        ),
        output=tmp_path / "run",
    )
    assert run.top1 == 100
    assert list(run.path.rglob("events.out.tfevents.*"))
