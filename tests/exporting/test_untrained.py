"""Networks with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from ghostclas.errors import UsageError
from ghostclas.exporting.untrained import PUBLISHED, resized, untrained
from ghostclas.spec import PreprocessSpec, ResizeSpec

timm = pytest.importorskip("timm", reason="timm is not installed")


@pytest.mark.parametrize("name", ["ghostnet_x0_5", "timm:mobilenetv3_small_050", "timm:repghostnet_050"])
def test_weights_are_random_the_same_every_time_and_of_usual_size(name: str) -> None:
    first, second = untrained(name, size=64), untrained(name, size=64)
    assert first.provenance["weights"] == "random"
    assert len(first.classes) == first.spec.num_classes == 1000
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        a, b = first.model(images), second.model(images)
    assert torch.equal(a, b)
    assert a.isfinite().all()
    assert a.std() > 1e-4, "activations died out on the way"


def test_preprocessing_is_what_the_network_is_used_with() -> None:
    preprocess = untrained("timm:tf_efficientnet_lite0").preprocess
    assert (preprocess.crop, preprocess.resize.short_side) == (224, 256)
    assert (preprocess.resize.interpolation, preprocess.mean) == ("bicubic", (0.5, 0.5, 0.5))


def test_a_published_accuracy_goes_with_the_size_it_was_published_for() -> None:
    published = untrained("ghostnet_x0_5").provenance["published"]
    assert (published["top1"], published["top5"]) == (66.88, 86.95)
    assert "published" not in untrained("ghostnet_x0_5", size=160).provenance
    assert "published" not in untrained("ghostnet_x0_75").provenance


def test_every_published_network_exists() -> None:
    ours = {name for name in PUBLISHED if name.startswith("ghostnet_")}
    assert all(timm.is_model(name) for name in set(PUBLISHED) - ours)


def test_another_size_sees_the_same_part_of_a_photo() -> None:
    spec = PreprocessSpec(resize=ResizeSpec(short_side=256), crop=224)
    assert resized(spec, None) == resized(spec, 224) == spec
    smaller = resized(spec, 112 + 16)
    assert (smaller.crop, smaller.resize.short_side) == (128, 146)
    assert resized(PreprocessSpec(resize=ResizeSpec(short_side=128), crop=128), 96).resize.short_side == 96


def test_what_timm_has_not_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="mobilenetv3_large_100"):
        untrained("timm:mobilenetv3_larg_100")


@pytest.mark.slow
def test_a_network_of_timm_becomes_a_bundle_that_says_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bundle"
    assert main(["export", "--model", "timm:mobilenetv3_small_050", "--output", str(target)]) == 0
    assert "weights are random" in capsys.readouterr().err
    bundle = Bundle.open(target)
    assert (bundle.name, bundle.spec.family) == ("mobilenetv3_small_050", "timm")
    assert main(["verify", str(target)]) == 0
