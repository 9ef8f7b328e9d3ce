"""The reference images that a new bundle gets."""

from __future__ import annotations

import numpy as np

from ghostclas import imaging
from ghostclas.bundle import Bundle
from tests.exporting.stub import PREPROCESS, network, torch_logits


def test_the_reference_is_what_imaging_and_torch_make_of_its_jpegs(exported: Bundle) -> None:
    reference = exported.reference()
    assert 4 <= len(reference.jpegs) <= 8
    for jpeg, pixels in zip(reference.jpegs, reference.pixels, strict=True):
        np.testing.assert_array_equal(imaging.preprocess(jpeg, PREPROCESS), pixels)
    tolerance = 1e-5 if exported.file().entry.precision == "fp32" else 2e-2
    np.testing.assert_allclose(reference.logits, torch_logits(network(), reference.pixels), atol=tolerance)
