"""A checkpoint is whole, or the one before it is there."""

import signal
from pathlib import Path

import pytest

from ghostclas.errors import TrainingError
from ghostclas.training import train
from ghostclas.training.checkpoint import load_checkpoint
from ghostclas.training.ema import EMA
from tests.full_disk import largest_file
from tests.training.killed import run_killed
from tests.training.runs import settings


@pytest.mark.usefixtures("weights_only")
def test_an_unreadable_newest_checkpoint_falls_back_to_the_one_before(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, "loop.save_minutes=0")
    assert run_killed(config, tmp_path / "run", "step", 8) == -signal.SIGKILL
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"last.pt cannot be read .* trying the one before it"):
        run = train(config=config, output=tmp_path / "run", resume=True)
    assert run.epochs == 2


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
