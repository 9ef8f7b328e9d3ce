import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ghostclas
from ghostclas.errors import DataError, TrainingError, UsageError
from ghostclas.loading import load_state
from ghostclas.training import TrainConfig, resolve_config, train
from ghostclas.training.ema import EMA
from ghostclas.training.run import _load_best
from ghostclas.training.rundir import RunDirectory
from ghostclas.zoo import locate
from tests.training.killed import run_killed
from tests.training.photos import photo_folder

SETTINGS = [
    "model.name=ghostnet_x0_2",
    "data.resolution=32",
    "data.workers=0",
    "schedule.epochs=2",
    "schedule.warmup_epochs=0.5",
    "optimizer.lr=0.01",
    "optimizer.lr_batch=null",
    "loop.batch_size=8",
    "loop.ema=0.9",
    "loop.device=cpu",
]
# Learns its three colours from any seed.
WHOLE = ["schedule.epochs=30", "loop.batch_size=12", "model.dropout=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


def settings(folder: Path, *more: str) -> TrainConfig:
    return resolve_config("scratch", [*SETTINGS, *more], {"data": {"path": str(folder)}})


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    return train(config=settings(folder, *WHOLE), output=output).path


def test_a_run_leaves_everything_it_promises(finished: Path) -> None:
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == list(range(1, 31))
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (finished / "report" / "index.html").read_text()
    assert "How it learned" in page
    assert json.loads((finished / "report" / "report.json").read_text())["top1"] == 100
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {
        "last.pt",
        "last.previous.pt",
        "best.pt",
    }


def test_the_bundle_learned_the_classes_and_labels_a_photo(finished: Path, folder: Path) -> None:
    with ghostclas.Classifier.load(finished / "bundle") as classifier:
        for label in "012":
            (prediction,) = classifier.predict([folder / "val" / label / "0.png"], top=1)
            assert prediction.top[0].label == label


def test_the_bundle_carries_the_accuracy_measured_on_itself(finished: Path) -> None:
    (metric,) = json.loads((finished / "bundle" / "manifest.json").read_text())["metrics"]
    assert metric["images"] == 12
    assert metric["top1"] == 100
    assert metric["top5"] is None
    assert "onnxruntime" in metric["through"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return {**state["ema"], **{f"raw.{name}": value for name, value in state["model"].items()}}


def assert_same_weights(run: Path, other: Path) -> None:
    expected, found = weights(run), weights(other)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name


def test_a_run_killed_at_any_instant_ends_with_the_weights_of_the_uninterrupted_one(
    folder: Path, tmp_path: Path
) -> None:
    config = settings(folder, "loop.save_minutes=0", "augment.mixup=0.2", "augment.policy=trivialaugment")
    train(config=config, output=tmp_path / "whole")
    broken = tmp_path / "broken"
    for point, count in (("step", 3), ("write", 2), ("rename", 4), ("step", 1)):
        assert run_killed(config, broken, point, count) == -signal.SIGKILL, point
    train(config=config, output=broken, resume=True)
    assert_same_weights(tmp_path / "whole", broken)


def test_an_unreadable_newest_checkpoint_falls_back_to_the_one_before(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, "loop.save_minutes=0")
    assert run_killed(config, tmp_path / "run", "step", 8) == -signal.SIGKILL
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"last.pt cannot be read .* trying the one before it"):
        run = train(config=config, output=tmp_path / "run", resume=True)
    assert run.epochs == 2


def test_a_directory_that_holds_a_run_is_not_overwritten(finished: Path, folder: Path) -> None:
    before = sorted(finished.rglob("*"))
    with pytest.raises(UsageError, match="already holds a run; continue it with --resume"):
        train(config=settings(folder, *WHOLE), output=finished)
    assert sorted(finished.rglob("*")) == before


def test_a_changed_setting_on_resume_is_named(finished: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"other settings:\n +loop.batch_size: 12 -> 4"):
        train(config=settings(folder, *WHOLE, "loop.batch_size=4"), output=finished, resume=True)


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


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_checkpoint_intact(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghostclas.training.objective import CrossEntropy

    answer, calls = CrossEntropy.__call__, [0]

    def no_number_at_step_three(self: CrossEntropy, *arguments: Any) -> torch.Tensor:
        calls[0] += 1
        return answer(self, *arguments) * (float("nan") if calls[0] == 3 else 1)

    monkeypatch.setattr(CrossEntropy, "__call__", no_number_at_step_three)
    with pytest.raises(
        TrainingError, match=r"(?s)the loss is not finite at step 3.*start another run, with another --output"
    ):
        train(config=settings(folder, "loop.save_minutes=0"), output=tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert state["position"]["step"] == 2
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())
    assert not (tmp_path / "run" / "bundle").exists()


def test_weights_that_are_not_finite_are_never_saved(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = EMA.update

    def break_a_weight(self: EMA, model: torch.nn.Module, step: int) -> None:
        update(self, model, step)
        if step == 3:
            next(model.parameters()).data[0] = float("inf")

    monkeypatch.setattr(EMA, "update", break_a_weight)
    with pytest.raises(TrainingError, match="the weights are not finite after step 3"):
        train(config=settings(folder, "loop.save_minutes=0"), output=tmp_path / "run")
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_unreadable_images_are_listed_and_too_many_stop_the_run(tmp_path: Path) -> None:
    root = photo_folder(tmp_path / "photos")
    (root / "train" / "0" / "3.png").write_bytes(b"")
    (root / "val" / "1" / "1.png").write_bytes(b"no image")
    run = train(config=settings(root, "data.max_bad=0.1", "schedule.epochs=1"), output=tmp_path / "some")
    assert run.bad_images == 2
    listed = (tmp_path / "some" / "bad_images.txt").read_text()
    assert "0/3.png" in listed
    assert "1/1.png" in listed
    with pytest.raises(DataError, match=r"cannot be read, more than data.max_bad=0.01"):
        train(config=settings(root, "schedule.epochs=1"), output=tmp_path / "few")
    assert not (tmp_path / "few" / "bundle").exists()


def test_running_out_of_memory_halves_the_micro_batch_and_keeps_the_batch(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghostclas.models.ghostnet import GhostNet

    whole = GhostNet.forward

    def small_memory(self: GhostNet, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return whole(self, x)

    monkeypatch.setattr(GhostNet, "forward", small_memory)
    # Batch norms over two pictures of one pixel have steep gradients.
    config = settings(folder, "schedule.epochs=1", "optimizer.lr=1e-4")
    train(config=config, output=tmp_path / "run", quiet=False)
    assert (
        "out of memory: going on with 4 micro-batches of 2 images; the batch stays 8"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(("batch", "parts"), [(32, "8 micro-batches of 4"), (8, "4 micro-batches of 2")])
def test_no_memory_for_an_eighth_of_the_batch_nor_for_two_images_stops_the_run(
    batch: int, parts: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghostclas.models.ghostnet import GhostNet

    def no_memory(self: GhostNet, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(GhostNet, "forward", no_memory)
    with pytest.raises(TrainingError, match=f"out of memory even in {parts} images"):
        train(config=settings(folder, f"loop.batch_size={batch}"), output=tmp_path / "run")


def test_a_time_budget_ends_the_run_early_with_a_bundle(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, "schedule.epochs=100000", "loop.time=0.05")
    run = train(config=config, output=tmp_path / "run")
    assert run.bundle.exists()
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["lr"] < max(entry["lr"] for entry in log)
    assert len(log) < 1000


def test_a_model_name_that_does_not_exist_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="ghostnet_x1_0"):
        train(config=settings(folder, "model.name=ghostnet_x1_O"), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def started_from(folder: Path, output: Path, *more: str, model: str | None = None) -> TrainConfig:
    """Return the configuration of a run of one step or so, started without a recipe."""
    changes = ["data.resolution=32", "data.workers=0", "loop.device=cpu", "loop.batch_size=32", *more]
    changes += ["data.progressive=[]", "schedule.epochs=0.5", "schedule.warmup_epochs=0"]
    run = train(folder, network=model, settings=changes, output=output)
    return resolve_config(str(run.path / "config.yaml"), [])


@pytest.mark.slow
def test_a_small_folder_is_fine_tuned_from_the_built_in_model_unless_told_otherwise(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = started_from(folder, tmp_path / "fine")
    assert config.model.weights == "default"
    assert config.schedule.head_epochs == 1
    assert config.optimizer.body_lr < 1
    body = torch.load(tmp_path / "fine" / "checkpoints" / "last.pt", weights_only=True)["model"]
    built_in = load_state(locate("default").weights())
    assert torch.equal(body["stem.conv.weight"], built_in["stem.conv.weight"]), "the head learns first, alone"
    assert not torch.equal(body["classifier.weight"][0], built_in["classifier.weight"][0])
    assert started_from(folder, tmp_path / "other", model="ghostnet_x0_2").model.weights is None
    assert started_from(folder, tmp_path / "mine", "model.flavour=original").model.weights is None


def test_a_best_checkpoint_that_is_damaged_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.best.parent.mkdir()
    run.best.write_bytes(b"PK\x03\x04 half")
    with pytest.raises(TrainingError, match=r"best.pt, cannot be read .*\n.*remove the file and continue"):
        _load_best(run)
