"""Models at other input sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.exporting.variants import make_variant


def test_a_bundle_at_another_size_keeps_its_weights(small_bundle: Bundle, tmp_path: Path) -> None:
    made = make_variant(str(small_bundle.path), tmp_path / "96", size=96)
    assert (made.preprocess.crop, made.classes) == (96, small_bundle.classes)
    assert made.manifest.provenance["resized_from"] == 64
    assert made.read("weights.safetensors") == small_bundle.read("weights.safetensors")


@pytest.mark.parametrize("size", [0, 31, 100])
def test_a_size_that_no_network_takes_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        make_variant("default", tmp_path / "x", size=size)
