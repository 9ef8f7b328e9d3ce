"""Failures of loader processes are errors of the run."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from ghostclas.errors import TrainingError
from ghostclas.training import train
from ghostclas.training.checkpoint import load_checkpoint
from ghostclas.training.ema import EMA
from tests.training.runs import settings


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
