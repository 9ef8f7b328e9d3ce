"""The network for converters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ghostclas.bundle import Bundle
from ghostclas.exporting.network import load_network
from tests.exporting.stub import network


def test_the_network_that_converters_get_is_that_of_the_onnx_file(
    half: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.exporting.network.create_model", lambda spec: network())
    reference = half.reference()
    with torch.inference_mode():
        logits = load_network(half)(torch.from_numpy(reference.pixels)).numpy()
    np.testing.assert_allclose(logits, reference.logits, rtol=0, atol=1e-6)
