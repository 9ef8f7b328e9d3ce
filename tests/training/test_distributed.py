"""Two processes on the CPU under torchrun: what they learn together, and what is left when one is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.ssld.run_config import SsldConfig
from ghostclas.training import TrainConfig, resolve_config
from ghostclas.training.config import dump_config
from tests.training.photos import photo_folder
from tests.training.runs import SETTINGS, assert_same_weights, settings

pytestmark = pytest.mark.slow
KILLED = Path(__file__).with_name("killed.py")


def run_two(
    config: TrainConfig, output: Path, point: str = "never", count: int = 0, rank: int = 0
) -> subprocess.CompletedProcess[str]:
    document = output.with_suffix(".yaml")
    document.write_text(dump_config(config))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, str(KILLED), str(document), str(output), point, str(count), str(rank)],
        env={**os.environ, "PYTHONPATH": str(KILLED.parents[2]), "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 photos to train on and 15 to validate: neither divides by two processes' batches."""
    return photo_folder(tmp_path_factory.mktemp("photos"), train=12, val=5)


@pytest.fixture(scope="module")
def config(folder: Path) -> TrainConfig:
    return settings(folder, "loop.save_minutes=0")


@pytest.fixture(scope="module")
def whole(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    process = run_two(config, output)
    assert process.returncode == 0, process.stderr
    return output


def test_every_image_of_an_epoch_and_of_validation_counts_once(whole: Path) -> None:
    (metric,) = json.loads((whole / "bundle" / "manifest.json").read_text())["metrics"]
    assert metric["images"] == 15
    assert [entry["step"] for entry in log(whole)] == [5, 10]
    for entry in log(whole):
        assert entry["top1"] * 15 / 100 == pytest.approx(round(entry["top1"] * 15 / 100))


def test_a_run_in_which_each_process_was_killed_ends_with_the_same_weights(
    config: TrainConfig, whole: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    for rank in (0, 1):
        assert run_two(config, broken, "step", 4, rank).returncode != 0
        assert not (broken / "bundle").exists()
    process = run_two(config, broken)
    assert process.returncode == 0, process.stderr
    assert_same_weights(whole, broken)


def test_a_batch_that_the_processes_cannot_share_equally_is_refused(folder: Path, tmp_path: Path) -> None:
    process = run_two(settings(folder, "loop.batch_size=9"), tmp_path / "run")
    assert process.returncode != 0
    assert "loop.batch_size 9 is not a multiple of 2 processes" in process.stderr


def test_two_processes_follow_a_teachers_maps_fed_and_then_as_a_whole(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    maps = (f"distil.teacher.model={whole}", "distil.features=1", "distil.blockwise_epochs=1")
    config = resolve_config("scratch", [*SETTINGS, *maps], {"data": {"path": str(folder)}}, schema=SsldConfig)
    process = run_two(config, tmp_path / "run")
    assert process.returncode == 0, process.stderr
    fed, together = log(tmp_path / "run")
    assert fed["bad_images"] == together["bad_images"] == 0
    assert (tmp_path / "run" / "bundle" / "manifest.json").exists()
