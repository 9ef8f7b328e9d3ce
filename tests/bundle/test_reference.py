"""The images that a bundle carries as its proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bundle import FileContent, Reference
from ghostclas.errors import BundleError
from tests.bundle.made import a_reference, assert_one_sentence, model, write


@pytest.mark.parametrize(
    "reference",
    [
        b"no safetensors",
        a_reference(side=64).to_bytes(),
        a_reference(classes=4).to_bytes(),
        Reference([b"one"], a_reference().pixels, a_reference().logits).to_bytes(),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(tmp_path: Path, reference: bytes) -> None:
    files = {"model.onnx": model(), "reference.safetensors": FileContent(reference, "reference")}
    opened = write(tmp_path / "bundle", files=files)
    with pytest.raises(BundleError, match=r"reference\.safetensors") as caught:
        opened.reference()
    assert_one_sentence(caught.value, opened.path)


def test_a_bundle_without_a_reference_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no reference\.safetensors in this bundle"):
        write(tmp_path / "bundle", files={"model.onnx": model()}).reference()
