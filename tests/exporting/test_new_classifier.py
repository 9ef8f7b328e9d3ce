"""Another last layer for a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from ghostclas.bundle import WEIGHTS, Bundle, default_bundle_path
from ghostclas.engines.choice import open_engine
from ghostclas.engines.contract import FeatureEngine
from ghostclas.errors import UsageError
from ghostclas.exporting.new_classifier import (
    Embed,
    _pass_through,
    _replace_layer,
    with_classifier,
    with_pooled_features,
)
from ghostclas.verification import verify

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

CLASSES = ("cat", "狗")


@pytest.fixture(params=["default", "small"])
def bundle(request: pytest.FixtureRequest, small_bundle: Bundle) -> Bundle:
    """A compact bundle in fp16, and one that stores its matrices twice, in fp32."""
    return Bundle.open(default_bundle_path()) if request.param == "default" else small_bundle


@pytest.fixture
def embed(bundle: Bundle) -> Iterator[Embed]:
    engine = open_engine("onnxruntime", bundle)
    yield cast(FeatureEngine, engine).embed
    engine.close()


def layer(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    features = bundle.file("onnx").entry.features
    assert features is not None
    draw = np.random.default_rng(0)
    weight = draw.normal(0, 0.05, (len(CLASSES), features.size("C") or 0)).astype(np.float32)
    return weight, np.array([0.5, -0.5], np.float32)


def test_the_new_bundle_gives_the_new_answers_on_the_old_features(
    bundle: Bundle, embed: Embed, tmp_path: Path
) -> None:
    weight, bias = layer(bundle)
    made = with_classifier(bundle, tmp_path / "new", weight=weight, bias=bias, classes=CLASSES, embed=embed)
    assert made.classes == CLASSES
    assert made.preprocess == bundle.preprocess
    assert made.manifest.metrics == ()
    texts = onnx.load_model_from_string(made.file("onnx").read()).metadata_props
    assert {entry.key: entry.value for entry in texts}["classes"] == json.dumps(CLASSES, ensure_ascii=False)
    assert verify(made, engines=("onnxruntime",)).ok
    side = made.preprocess.crop
    photos = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), np.uint8)
    engine = open_engine("onnxruntime", made)
    np.testing.assert_allclose(engine.run(photos), embed(photos) @ weight.T + bias, atol=2e-2)
    np.testing.assert_array_equal(cast(FeatureEngine, engine).embed(photos), embed(photos))
    engine.close()


def test_training_goes_on_from_the_new_layer_and_the_old_network(
    bundle: Bundle, embed: Embed, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from ghostclas.models.saved import bundle_state

    weight, bias = layer(bundle)
    made = with_classifier(bundle, tmp_path / "new", weight=weight, bias=bias, classes=CLASSES, embed=embed)
    before, after = bundle_state(bundle), bundle_state(made)
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    np.testing.assert_allclose(after["classifier.weight"].numpy(), weight, atol=1e-3)
    assert WEIGHTS in {entry.path for entry in made.manifest.files}


def test_a_file_whose_last_layer_is_something_else_is_refused(small_bundle: Bundle) -> None:
    proto = onnx.load_model_from_string(small_bundle.file("onnx").read())
    last = next(node for node in proto.graph.node if list(node.output) == ["logits"])
    last.op_type = "MatMul"
    weight, bias = layer(small_bundle)
    with pytest.raises(UsageError, match="its last layer is not one matrix on its features"):
        _replace_layer(onnx, small_bundle, proto, weight, bias)


def test_pooled_maps_pass_through_the_layer_before_the_last(bundle: Bundle, tmp_path: Path) -> None:
    """Also in the network of the weights, so that other formats and further training have them."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from ghostclas.exporting.network import load_network

    made = with_pooled_features(bundle, tmp_path / "pooled")
    assert made is not None
    side = made.preprocess.crop
    photos = np.random.default_rng(1).integers(0, 256, (2, side, side, 3), np.uint8)
    network = load_network(bundle)
    pooled: list[np.ndarray] = []
    network.model.get_submodule("pool").register_forward_hook(
        lambda *given: pooled.append(given[-1].flatten(1).numpy())
    )
    engine = open_engine("onnxruntime", made)
    with torch.inference_mode():
        network(torch.from_numpy(photos))
        ours = load_network(made)(torch.from_numpy(photos)).numpy()
    features = cast(FeatureEngine, engine).embed(photos)
    size = pooled[0].shape[1]
    assert 0 < size < features.shape[1]
    np.testing.assert_allclose(features[:, :size], pooled[0], atol=1e-2)
    assert not features[:, size:].any()
    np.testing.assert_allclose(ours, engine.run(photos), atol=2e-2)
    engine.close()


def test_a_network_without_such_a_layer_keeps_its_features(small_bundle: Bundle) -> None:
    proto = onnx.load_model_from_string(small_bundle.file("onnx").read())
    before = proto.SerializeToString(deterministic=True)
    made_by = {output: node for node in proto.graph.node for output in node.output}
    made_by[made_by["features"].input[0]].op_type = "Sigmoid"
    changed = proto.SerializeToString(deterministic=True)
    assert before != changed
    assert _pass_through(onnx, proto) is None
    assert proto.SerializeToString(deterministic=True) == changed
