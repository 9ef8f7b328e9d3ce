"""A checkpoint is whole, or the one before it is there."""

import random
import signal
import warnings
from pathlib import Path

import pytest
import torch

from ghostclas.errors import TrainingError
from ghostclas.training import train
from ghostclas.training.checkpoint import load_checkpoint, previous, save_checkpoint
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


def state_at(step: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(step)
    return {"model": {"weight": torch.randn(5000, generator=generator)}, "position": {"step": step}}


def test_no_flipped_bit_and_no_zeroed_block_is_ever_loaded(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    for step in (1, 2):
        save_checkpoint(state_at(step), path)
    whole, chance = path.read_bytes(), random.Random(0)
    fallen_back = 0
    for attempt in range(120):
        damaged, place = bytearray(whole), chance.randrange(len(whole))
        if attempt % 2:
            damaged[place] ^= 1 << chance.randrange(8)
        else:
            damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            state = load_checkpoint(path)
        assert state, attempt
        step = state["position"]["step"]
        assert torch.equal(state["model"]["weight"], state_at(step)["model"]["weight"]), attempt  # type: ignore[index]
        assert step == (1 if told else 2), attempt
        fallen_back += bool(told)
    # What is left are changes of the seal itself.
    assert fallen_back > 110


def test_a_checkpoint_of_an_earlier_version_has_no_sha256_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save({"schema": 1, **state_at(3)}, path)
    state = load_checkpoint(path)
    assert state
    assert state["position"] == {"step": 3}


@pytest.mark.parametrize("content", [[1], {"schema": 2}])
def test_what_is_no_checkpoint_is_told(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "last.pt")
    torch.save(content, previous(tmp_path / "last.pt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TrainingError, match=r"no checkpoint in .* can be read|has checkpoint schema 2"):
            load_checkpoint(tmp_path / "last.pt")
