"""A new last layer on the features of a bundle, without torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import ghostclas
from ghostclas.bundle import Bundle
from ghostclas.cli import main
from ghostclas.data import open_source
from ghostclas.errors import DataError, UsageError
from ghostclas.evaluation import evaluate
from ghostclas.training.head import train_head
from ghostclas.verification import verify
from tests.evaluation.past import past_run
from tests.fresh import modules_after
from tests.training.photos import photo_folder

pytest.importorskip("scipy", reason="scipy is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"), train=12, val=8)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ghostclas.Run:
    return ghostclas.train_head(folder, output=tmp_path_factory.mktemp("runs") / "fast")


def test_the_built_in_features_tell_three_colours_apart(run: ghostclas.Run, folder: Path) -> None:
    assert run.top1 == 100
    assert (run.epochs, run.images) == (0, 24)
    with run.classifier as classifier:
        again = evaluate(classifier, open_source(folder))
        assert again.top1 == 100
        assert classifier(folder / "val" / "1" / "0.png").label == "1"
    (metric,) = json.loads((run.bundle / "manifest.json").read_text(encoding="utf-8"))["metrics"]
    assert (metric["images"], metric["top1"]) == (24, 100)
    assert (run.path / "report" / "index.html").is_file()


def test_the_bundle_verifies_and_says_what_it_is(run: ghostclas.Run) -> None:
    bundle = Bundle.open(run.bundle)
    assert verify(bundle, engines=("onnxruntime",)).ok
    assert bundle.classes == ("0", "1", "2")
    assert bundle.spec.num_classes == 3
    assert bundle.manifest.provenance["features_of"] == "ghostnet_x1_0_tiny200"
    assert bundle.manifest.provenance["method"] == "multinomial logistic regression on frozen features"
    assert bundle.manifest.provenance["features"] == "pooled maps"
    made = bundle.manifest.provenance["trained"]
    assert isinstance(made, dict)
    assert made.keys() == {"date", "ghostclas", "onnxruntime", "scipy"}


def test_info_and_the_report_say_how_and_when_it_learned(
    run: ghostclas.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(run.path)]) == 0
    assert re.search(
        r"trained +\d{4}-\d\d-\d\d by ghostclas .* with onnxruntime .*, scipy ", capsys.readouterr().out
    )
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "How it learned" in page
    for fact in (
        "Duration",
        "36 to learn from, 24 to validate",
        "frozen features",
        "Hardware",
        "onnxruntime ",
    ):
        assert fact in page


def test_runs_shows_it_beside_other_runs(run: ghostclas.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(run.path.parent)]) == 0
    assert "to see this as a page: " in capsys.readouterr().err, "there are no curves"
    past_run(run.path.parent / "whole", [50.0, 60.0])
    assert main(["runs", str(run.path.parent), "--json"]) == 0
    fast, whole = json.loads(capsys.readouterr().out)
    assert (fast["name"], fast["top1"], fast["epochs"], fast["best_epoch"]) == ("fast", 100, 0, None)
    assert (fast["train_images"], fast["val_images"], fast["finished"]) == (36, 24, True)
    assert (fast["network"], fast["resolution"]) == ("ghostnet_x1_0", run.classifier.preprocess.crop)
    assert fast["seconds"] > 0
    assert whole["name"] == "whole"


def test_the_whole_network_can_be_trained_on_from_it(run: ghostclas.Run) -> None:
    """Its weights hold the new last layer, so that other formats are made of them, too."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from ghostclas.exporting.network import load_network

    network = load_network(Bundle.open(run.bundle))
    reference = Bundle.open(run.bundle).reference()
    with torch.inference_mode():
        logits = network(torch.from_numpy(reference.pixels)).numpy()
    np.testing.assert_allclose(logits, reference.logits, atol=1e-2)


def test_the_command_needs_no_torch_and_names_the_next_one(folder: Path, tmp_path: Path) -> None:
    code = "import sys; from ghostclas.cli import main; assert main(['train', *sys.argv[1:]]) == 0"
    arguments = ["--fast", "--data", str(folder), "--output", str(tmp_path / "run")]
    assert not {"torch", "torchvision", "timm"} & modules_after(code, *arguments)
    assert main(["predict", str(folder / "val" / "2" / "0.png"), "--model", str(tmp_path / "run")]) == 0


def test_what_only_a_whole_training_has_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--fast", "--data", str(folder), "--epochs", "3", "--lr", "0.1"]) == 2
    assert "--fast trains one layer, and has no --epochs, --lr" in capsys.readouterr().err
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    with pytest.raises(UsageError, match="is not empty"):
        train_head(folder, output=full)
    with pytest.raises(UsageError, match="is no bundle"):
        train_head(folder, weights="ghostnet_x1_0", output=tmp_path / "other")


def test_unreadable_photos_are_left_out_and_listed_and_too_many_are_refused(tmp_path: Path) -> None:
    root = photo_folder(tmp_path / "photos", train=4, val=2)
    (root / "train" / "0" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 12 images .* cannot be read, such as .*0\.png"):
        train_head(root, output=tmp_path / "none")
    run = train_head(root, output=tmp_path / "run", max_bad=0.1)
    assert run.bad_images == 1
    assert "0.png" in (run.path / "bad_images.txt").read_text(encoding="utf-8")


def test_the_photos_that_it_set_aside_are_those_that_every_command_measures_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab, path = folder / "val", str(tmp_path / "fast")
    run = ghostclas.train_head(lab, output=path)
    assert run.images == 6
    note = "measured on the 6 of 24 images that"
    commands = (
        ["eval", "--model", path, "--record"],
        ["compare", path, path],
        ["calibrate", "--model", path, "--cost", "0.2", "--dry-run"],
    )
    for command in commands:
        assert main([*command, "--data", str(lab)]) == 0
        shown = capsys.readouterr()
        assert note in shown.err
        assert f"{lab}: 6 images" in shown.out
        assert main([*command, "--data", str(lab), "--split", "all"]) == 0
        shown = capsys.readouterr()
        assert "set aside" not in shown.err
        assert f"{lab}: 24 images" in shown.out
    assert main(["eval", "--model", path, "--data", str(folder / "train")]) == 0
    assert "set aside" not in capsys.readouterr().err, "other photos, some of the same names"
    assert main(["info", path]) == 0
    assert re.search("set_aside +6 of 24 images, seed 0", capsys.readouterr().out)
