"""Every generation of GhostNet becomes a bundle that answers as the network does and continues from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ghostclas.bundle import Bundle
from ghostclas.engines import open_engine
from ghostclas.errors import MissingExtraError
from ghostclas.exporting.additions import add_formats
from ghostclas.exporting.onnx import export_bundle
from ghostclas.imaging import preprocess
from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.prediction.explanation import Explainer
from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.zoo import resolve_spec
from tests.hooks import hooked_heat

slow = pytest.mark.slow


def settled(name: str, side: int) -> nn.Module:
    """A narrow network whose norms have seen noise and whose answers differ by photo."""
    torch.manual_seed(0)
    network = create_model(resolve_spec(name, num_classes=3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(64, 3, side, side))
    assert isinstance(network.classifier, nn.Linear)
    nn.init.normal_(network.classifier.weight, std=0.1)
    return network.eval()


def exported(network: nn.Module, name: str, side: int, target: Path, precision: str = "fp32") -> Bundle:
    spec = resolve_spec(name, num_classes=3)
    preprocess = PreprocessSpec(resize=ResizeSpec(short_side=side), crop=side)
    return export_bundle(network, spec, ("a", "b", "c"), preprocess, target, precision=precision)


@pytest.mark.parametrize(
    ("name", "side", "precision"),
    [
        # At 96 pixels the last maps have an odd side; at 32 they are one pixel, which cannot be halved.
        ("ghostnetv2_x0_25", 32, "fp16"),
        pytest.param("ghostnetv3_x0_25", 96, "fp32", marks=pytest.mark.slow),
    ],
)
def test_a_bundle_answers_as_the_network_and_continues_from_it(
    name: str, side: int, precision: str, tmp_path: Path
) -> None:
    network = settled(name, side)
    bundle = exported(network, name, side, tmp_path / "bundle", precision)
    reference = bundle.reference()
    engine = open_engine("onnxruntime", bundle, threads=1)
    np.testing.assert_allclose(engine.run(reference.pixels), reference.logits, atol=1e-3)
    engine.close()
    explanation = Explainer(bundle).explain(reference.pixels[0])
    pixels = preprocess(reference.pixels[0], bundle.preprocess)
    heat = hooked_heat(network, pixels, bundle.preprocess, explanation.label.index)
    np.testing.assert_allclose(explanation.heat, heat, rtol=0.02 if precision == "fp16" else 1e-3, atol=1e-3)
    again = create_model(bundle.spec)
    load_weights(again, bundle.path)
    # Matrices of an fp16 bundle are float16 numbers, whose smallest step is 6e-8.
    rtol, atol = (0, 0) if precision == "fp32" else (1e-3, 1e-7)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=rtol, atol=atol, msg=key)


@slow
def test_openvino_ncnn_and_mnn_answer_as_the_network(tmp_path: Path) -> None:
    """``add_formats`` keeps a file only where it answers alike; merged, GhostNetV3 has the same graph."""
    name = "ghostnetv2_x0_25"
    bundle = exported(settled(name, 96), name, 96, tmp_path / "bundle")
    failed = {
        added.format: str(added.error)
        for added in add_formats(bundle, ["openvino", "ncnn", "mnn"])
        if added.error is not None and not isinstance(added.error, MissingExtraError)
    }
    assert failed == {}
