"""From a folder of real photos to a label, over a kill."""

import json
import signal
from pathlib import Path

import pytest

import ghostclas
from ghostclas.training import resolve_config, train
from tests.real_data import CLOTHING, needs_clothing
from tests.training.killed import run_killed


@pytest.mark.slow
@needs_clothing
def test_real_photos_are_learned_over_a_kill_and_one_is_labelled(tmp_path: Path) -> None:
    config = resolve_config(
        "scratch",
        [
            "model.name=ghostnet_x0_5",
            "data.resolution=32",
            "data.workers=1",
            "schedule.epochs=2",
            "schedule.warmup_epochs=0",
            "loop.save_minutes=0",
            "loop.device=cpu",
        ],
        {"data": {"path": str(CLOTHING)}},
    )
    path = tmp_path / "run"
    assert run_killed(config, path, "step", 20) == -signal.SIGKILL
    run = train(output=path, resume=True)
    log = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [48, 96]
    assert log[-1]["loss"] < log[0]["loss"]
    # Ten classes.
    assert run.top1 > 15
    photo = next((CLOTHING / "val").glob("*/*.jpg"))
    with ghostclas.Classifier.load(run.bundle) as classifier:
        (prediction,) = classifier.predict([photo], top=3)
    classes = {folder.name for folder in (CLOTHING / "val").iterdir()}
    assert {label.label for label in prediction.top} <= classes
