"""The engine of feature maps: the same logits as the plain one, the maps, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import Bundle, default_bundle_path
from ghostclas.engines import open_engine
from ghostclas.engines.maps import MapEngine
from ghostclas.errors import BundleError, UsageError
from tests.colours import colour_bundle


@pytest.mark.parametrize("name", ["default", "small"])
def test_it_gives_the_logits_of_the_plain_engine_and_the_map_that_leads_to_them(
    name: str, small_bundle: Bundle
) -> None:
    bundle = Bundle.open(default_bundle_path()) if name == "default" else small_bundle
    before = bundle.read("model.onnx")
    pixels = bundle.reference().pixels[:2]
    engine = MapEngine.open(bundle)
    logits, maps = engine.run_with_maps(pixels)
    side = bundle.preprocess.crop // 32
    assert maps.shape == (2, engine.head.channels, side, side)
    assert maps.dtype == logits.dtype == np.float32
    plain = open_engine("onnxruntime", bundle, threads=1)
    np.testing.assert_allclose(logits, plain.run(pixels), atol=1e-4)
    np.testing.assert_array_equal(engine.run(pixels), logits)
    # The head, computed from the mean of the map, arrives at the same logits.
    x = maps[0].mean((1, 2), np.float64)
    for layer in engine.head.layers:
        x = layer.forward(x)
    np.testing.assert_allclose(x, logits[0], atol=1e-3)
    plain.close()
    engine.close()
    assert bundle.read("model.onnx") == before
    with pytest.raises(UsageError, match="closed"):
        engine.run_with_maps(pixels)


def test_a_network_without_a_feature_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no feature map to explain its answers by: .* something else"):
        MapEngine.open(colour_bundle(tmp_path / "colours"))
