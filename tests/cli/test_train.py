"""``ghostclas train`` and its options."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from ghostclas.training.config import resolve_config
from ghostclas.training.recipes import recipe_names
from tests.fresh import modules_after
from tests.training.photos import photo_folder

SETTINGS = [
    *("--set", "model.name=ghostnet_x0_2"),
    *("--set", "data.resolution=32"),
    *("--set", "data.workers=0"),
    *("--set", "loop.batch_size=8"),
    *("--set", "loop.device=cpu"),
    *("--set", "schedule.epochs=1"),
    *("--set", "schedule.warmup_epochs=0"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


def test_train_prints_its_result_and_the_next_command_and_goes_on_when_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", str(folder), "--recipe", "scratch", *SETTINGS, "--output", str(run)]

    assert main([*command, "--time", "20m", "--verbose"]) == 0
    out, err = capsys.readouterr()
    assert "top-1" in out
    assert f"bundle: {run / 'bundle'}" in out
    assert f"ghostclas predict --model {run / 'bundle'} PHOTO" in out + err
    assert "epoch 1/1  loss" in err
    assert "recipe: scratch, given\n" in err
    assert "\nsettings: sgd with a rate of " in err
    assert resolve_config(str(run / "config.yaml"), []).loop.time == 20

    assert main(command) == 2
    assert "already holds a run; continue it with --resume" in capsys.readouterr().err

    assert main(["train", "--output", str(run), "--resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(run)
    assert result["epochs"] == 1


def test_train_without_data_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert capsys.readouterr().err.strip() == "error: there is nothing to train on: give --data FOLDER"


@pytest.mark.parametrize(
    "words",
    [
        ["--data", "photos", "--network", "ghostnet_x9000"],
        ["--data", "photos", "--weights", "no/such/file"],
        ["--data", "https://example.org/photos.zip"],
    ],
)
def test_a_wrong_word_is_refused_before_torch_is_imported(words: list[str]) -> None:
    code = "import sys; from ghostclas.cli import main; assert main(['train', *sys.argv[1:]]) == 2"
    assert "torch" not in modules_after(code, *words)


def test_resuming_a_run_that_is_not_there_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--output", str(tmp_path / "none"), "--resume"]) == 2
    assert "none holds no run to resume; to start one there, give --data" in capsys.readouterr().err


def test_train_on_a_model_that_is_no_network_says_how_to_start_from_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(folder), "--network", "default"]) == 2
    assert "to start from its weights: --weights default" in capsys.readouterr().err


def test_the_old_name_of_network_works_with_a_note(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", str(folder), "--output", str(tmp_path / "run")]
    assert main([*command, "--model", "ghostnet_x1_O"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("note: --model is now called --network")
    assert "no network is named 'ghostnet_x1_O'; did you mean" in err[1]
    assert main([*command, "--model", "ghostnet_x1_0", "--network", "ghostnet_x0_5"]) == 2
    assert "give --network only" in capsys.readouterr().err


@pytest.mark.slow
def test_the_short_options_are_the_settings_that_they_name(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "run" / "bundle"
    options = ["--network", "ghostnet_x0_2", "--epochs", "0.5", "--size", "32", "--batch-size", "8"]
    more = ["--lr", "0.02", "--recipe", "scratch", "--set", "data.workers=0", "--set", "loop.device=cpu"]
    output = ["--data", str(folder), "--output", str(tmp_path / "run")]
    assert main(["train", *output, *options, *more, "--set", "schedule.warmup_epochs=0"]) == 0
    config = resolve_config(str(tmp_path / "run" / "config.yaml"), [])
    chosen = (config.model.name, config.schedule.epochs, config.data.resolution, config.loop.batch_size)
    assert chosen == ("ghostnet_x0_2", 0.5, 32, 8)
    assert config.optimizer.lr == 0.02

    again = ["--weights", str(bundle), "--network", "ghostnet_x0_2", "--epochs", "0.5", "--size", "32"]
    output = ["--data", str(folder), "--output", str(tmp_path / "again")]
    assert main(["train", *output, *again, "--set", "data.workers=0", "--set", "loop.device=cpu"]) == 0
    config = resolve_config(str(tmp_path / "again" / "config.yaml"), [])
    assert (config.model.weights, config.optimizer.name) == (str(bundle), "adamw"), "small, by itself"


def test_the_help_lists_the_recipes_and_what_timm_comes_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    words = re.split(r"[\s,;│]+", capsys.readouterr().out)
    assert set(recipe_names()) <= set(words)
    assert "timm:NAME (in the extra ssld)" in " ".join(words)


@pytest.mark.slow
def test_a_network_of_timm_is_trained(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    run = tmp_path / "run"
    options = [
        "--network",
        "timm:mobilenetv3_small_050",
        "--size",
        "32",
        "--epochs",
        "1",
        "--batch-size",
        "8",
    ]
    quick = ["--set", "data.workers=0", "--set", "loop.device=cpu", "--set", "schedule.warmup_epochs=0"]
    assert main(["train", "--data", str(folder), *options, *quick, "--output", str(run)]) == 0
    assert main(["predict", str(folder / "val" / "0" / "0.png"), "--model", str(run)]) == 0
    assert Bundle.open(run / "bundle").spec.name == "mobilenetv3_small_050"
