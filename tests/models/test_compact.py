"""Compact bundles restore the network of their ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from ghostclas.bundle import WEIGHTS, Bundle, FileContent, add_files, copy_bundle, default_bundle_path, pack
from ghostclas.errors import BundleError
from ghostclas.exporting.network import load_network
from ghostclas.exporting.onnx import export_bundle
from ghostclas.models.registry import create_model
from ghostclas.models.saved import bundle_state


def wanted_names(bundle: Bundle) -> set[str]:
    return set(create_model(bundle.spec).state_dict())


@pytest.mark.parametrize("archive", [False, True])
def test_the_built_in_model_is_compact_and_gives_the_network_that_answers(
    archive: bool, tmp_path: Path
) -> None:
    bundle = Bundle.open(default_bundle_path())
    assert sum(entry.bytes for entry in bundle.manifest.files) < 10e6
    assert not any(value.ndim > 1 for value in load(bundle.read(WEIGHTS)).values())
    if archive:
        bundle = Bundle.open(pack(bundle, tmp_path / "bundle.zip"))
    assert bundle_state(bundle).keys() == wanted_names(bundle)
    reference = bundle.reference()
    with torch.inference_mode():
        logits = load_network(bundle)(torch.from_numpy(reference.pixels)).numpy()
    np.testing.assert_allclose(logits, reference.logits, rtol=0, atol=1e-4)


def test_a_compact_bundle_gives_what_a_complete_one_holds(small_bundle: Bundle, tmp_path: Path) -> None:
    model = create_model(small_bundle.spec).eval()
    model.load_state_dict(bundle_state(small_bundle))
    compact = export_bundle(
        model,
        small_bundle.spec,
        small_bundle.classes,
        small_bundle.preprocess,
        tmp_path / "compact",
        precision="fp16",
        compact=True,
    )
    state = bundle_state(compact)
    for name, value in model.state_dict().items():
        if value.ndim > 1:
            torch.testing.assert_close(state[name], value, rtol=2**-10, atol=1e-6, msg=name)
        else:
            assert torch.equal(state[name], value), name
    size = compact.manifest.files[1].bytes
    assert size < 0.1 * compact.file().entry.bytes


def test_files_that_do_not_belong_together_give_no_weights(small_bundle: Bundle, tmp_path: Path) -> None:
    compact = Bundle.open(default_bundle_path())
    other = copy_bundle(small_bundle, tmp_path / "mixed")
    mixed = add_files(other, {WEIGHTS: FileContent(compact.read(WEIGHTS), "weights")})
    with pytest.raises(BundleError, match=r"weights\.safetensors and the ONNX file do not match"):
        bundle_state(mixed)
