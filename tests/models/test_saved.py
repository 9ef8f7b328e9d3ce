"""The network of a bundle, written and read back."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from ghostclas.bundle import WEIGHTS, Bundle, FileContent, add_files
from ghostclas.errors import BundleError
from ghostclas.models import create_model
from ghostclas.models.saved import bundle_state, save_state


@pytest.mark.parametrize("half", [False, True])
def test_the_state_of_a_network_comes_back_as_it_was_or_rounded_once(half: bool, tiny_bundle: Bundle) -> None:
    network = create_model(tiny_bundle.spec)
    content = save_state(network, half=half)
    stored = safetensors.torch.load(content)
    assert {value.dtype for value in stored.values() if value.ndim > 1} == {
        torch.float16 if half else torch.float32
    }
    bundle = add_files(tiny_bundle, {WEIGHTS: FileContent(content, "weights")})
    state = bundle_state(bundle)
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        wanted = value.half().float() if half and value.ndim > 1 else value
        assert torch.equal(state[name], wanted), name
        assert state[name].dtype == value.dtype, name


def test_weights_that_are_no_safetensors_file_are_refused(tiny_bundle: Bundle) -> None:
    bundle = add_files(tiny_bundle, {WEIGHTS: FileContent(b"no tensors", "weights")})
    with pytest.raises(BundleError, match=r"weights\.safetensors is not a complete safetensors file"):
        bundle_state(bundle)
