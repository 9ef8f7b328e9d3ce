"""A run leaves what it promises, wherever it was killed."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ghostclas
from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError, DataError, MissingExtraError, TrainingError, UsageError
from ghostclas.loading import load_state
from ghostclas.training import TrainConfig, resolve_config, train
from ghostclas.training.run import _load_best
from ghostclas.training.rundir import RunDirectory
from ghostclas.zoo import locate
from tests.training.killed import run_killed
from tests.training.photos import photo_folder
from tests.training.runs import WHOLE, assert_same_weights, epochs, settings


def test_a_run_leaves_everything_it_promises(finished: Path, folder: Path) -> None:
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == list(range(1, 31))
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (finished / "report" / "index.html").read_text()
    assert "How it learned" in page
    assert f"{finished.name} on photos" in page.replace(folder.name, "photos")
    assert "36 to learn from, 12 to validate" in page
    assert page.count("<polyline") == 3, "top-1, and both losses"
    with (finished / "report" / "predictions.csv").open(encoding="utf-8", newline="") as table:
        assert [row["right"] for row in csv.DictReader(table)] == ["true"] * 12
    report = json.loads((finished / "report" / "report.json").read_text())
    assert report["top1"] == 100
    best = [entry for entry in log if entry["best"]][-1]
    nll = report["calibration"]["nll"]
    assert best["val_loss"] == pytest.approx(nll, abs=1e-3), "through another runtime"
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


@pytest.mark.usefixtures("weights_only")
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


@pytest.mark.slow
def test_a_model_is_measured_on_the_photos_that_its_run_set_aside(folder: Path, tmp_path: Path) -> None:
    data = folder / "train"
    run = train(config=settings(data, "schedule.epochs=1", "loop.seed=2"), output=tmp_path / "run")
    again = ghostclas.evaluate(run.bundle, data)
    assert again.images == run.images == 6
    assert again.top1 == run.top1
    assert ghostclas.evaluate(run.bundle, data, split="all").images == 36


@pytest.mark.usefixtures("weights_only")
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
    run = train(folder, network=model, settings=changes, output=output, quiet=False)
    return resolve_config(str(run.path / "config.yaml"), [])


@pytest.mark.slow
@pytest.mark.usefixtures("weights_only")
def test_a_small_folder_is_fine_tuned_from_the_built_in_model_unless_told_otherwise(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ghostclas")
    config = started_from(folder, tmp_path / "fine")
    assert re.search(r"recipe: small, the default for \d+ images and weights to start from", caplog.text)
    assert config.model.weights == "default"
    assert config.model.fit_head
    assert "the classifier starts from a logistic regression" in capsys.readouterr().err
    body = torch.load(tmp_path / "fine" / "checkpoints" / "last.pt", weights_only=True)["model"]
    built_in = load_state(locate("default").weights())
    stems = (body["stem.conv.weight"].flatten(), built_in["stem.conv.weight"].flatten())
    assert torch.nn.functional.cosine_similarity(*stems, dim=0) > 0.99, "one step from the built-in weights"
    assert started_from(folder, tmp_path / "other", model="ghostnet_x0_2").model.weights is None
    assert started_from(folder, tmp_path / "mine", "model.flavour=original").model.weights is None


@pytest.mark.usefixtures("weights_only")
def test_the_network_of_given_weights_is_trained_unless_another_is_named(
    folder: Path, tmp_path: Path, small_bundle: Bundle
) -> None:
    weights = f"model.weights={small_bundle.path}"
    theirs = started_from(folder, tmp_path / "theirs", weights)
    assert (theirs.model.name, theirs.model.flavour) == ("ghostnet_x0_5", None)
    with pytest.raises(BundleError, match="these weights do not fit the model"):
        started_from(folder, tmp_path / "named", weights, model="ghostnet_x0_2")
    with pytest.raises(BundleError, match="these weights do not fit the model"):
        started_from(folder, tmp_path / "set", weights, "model.name=ghostnet_x0_2")


def test_a_best_checkpoint_that_is_damaged_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.best.parent.mkdir()
    run.best.write_bytes(b"PK\x03\x04 half")
    with pytest.raises(TrainingError, match=r"best.pt, cannot be read .*\n.*remove the file and continue"):
        _load_best(run)


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
@pytest.mark.usefixtures("weights_only")
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
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert max(entry["top1"] for entry in log) == 100
    assert list(run.path.rglob("events.out.tfevents.*"))


@pytest.mark.usefixtures("weights_only")
def test_a_kill_between_the_log_and_the_first_checkpoint_leaves_no_epoch_twice(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # The first file that is saved is the best epoch's, the second is the checkpoint.
    assert run_killed(settings(folder), run, "write", 2) == -signal.SIGKILL
    assert epochs(run) == [1]
    train(output=run, resume=True)
    assert epochs(run) == [1, 2]


@pytest.mark.usefixtures("weights_only")
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


def test_without_data_the_flag_is_named() -> None:
    with pytest.raises(UsageError, match="give --data FOLDER"):
        train(recipe="scratch")


@pytest.mark.usefixtures("weights_only")
def test_a_list_is_read_under_its_root(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        names = sorted(path.relative_to(folder).as_posix() for path in (folder / split).rglob("*.png"))
        lines = [f"{name} {name.split('/')[1]}" for name in names]
        (tmp_path / f"{split}_list.txt").write_text("\n".join(lines))
    with pytest.raises(Exception, match=r"--set data.root=FOLDER"):
        train(config=settings(tmp_path), output=tmp_path / "run")
    config = settings(tmp_path, f"data.root={folder}", "schedule.epochs=1")
    assert train(config=config, output=tmp_path / "run").bad_images == 0


def test_a_changed_setting_on_resume_is_named(finished: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"other settings:\n +loop.batch_size: 12 -> 4"):
        train(config=settings(folder, *WHOLE, "loop.batch_size=4"), output=finished, resume=True)
