"""Opening models to serve them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import (
    REFERENCE,
    Bundle,
    FileContent,
    Reference,
    add_files,
    copy_bundle,
    default_bundle_path,
)
from ghostclas.errors import BundleError, UsageError
from ghostclas.serve.opening import Opening, open_model, parse_models


@pytest.fixture
def copied(tmp_path: Path) -> Bundle:
    return copy_bundle(Bundle.open(default_bundle_path()), tmp_path / "copied")


def test_models_are_named_by_the_user_or_by_their_bundle(copied: Bundle) -> None:
    path = str(copied.path)
    assert parse_models(["default", f"pets={path}"]) == {"ghostnet_x1_0": "default", "pets": path}
    assert parse_models([path]) == {copied.name: path}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["default", "default"], "two models are called 'ghostnet_x1_0'"),
        (["a=default", "a=default"], "two models are called 'a'"),
        (["a b=default"], "letters, digits"),
        (["é=default"], "letters, digits"),
        (["=default"], "letters, digits"),
        (["nothing_like_it"], "no model 'nothing_like_it'"),
    ],
)
def test_names_that_no_url_could_hold_or_that_two_have_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_models(words)
    assert message in str(caught.value)


def test_an_opened_model_has_proved_itself_and_knows_its_batch(copied: Bundle) -> None:
    model = open_model("pets", str(copied.path), Opening(engine="onnxruntime"))
    try:
        assert (model.name, model.engine, model.classes) == ("pets", "onnxruntime", copied.classes)
        assert model.batch in (1, 2, 4, 8)
    finally:
        model.close()


def test_a_damaged_bundle_is_not_opened(copied: Bundle) -> None:
    weights = copied.path / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.safetensors is not the file that was exported"):
        open_model("pets", str(copied.path), Opening(engine="onnxruntime", batch=1))


def test_a_bundle_whose_network_answers_otherwise_is_not_opened(copied: Bundle) -> None:
    reference = copied.reference()
    other = Reference(reference.jpegs, reference.pixels, reference.logits + np.float32(1))
    add_files(copied, {REFERENCE: FileContent(other.to_bytes(), "reference")})
    with pytest.raises(BundleError, match="does not answer as the bundle's reference says"):
        open_model("pets", str(copied.path), Opening(engine="onnxruntime", batch=1))
