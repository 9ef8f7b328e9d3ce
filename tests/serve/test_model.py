"""A model as protocols see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ghostclas.bundle import Bundle, copy_bundle, revise_manifest
from ghostclas.serve.model import ServedModel
from tests.serve.served import Shared, builtin_bundle, builtin_engine, builtin_model


def test_a_model_tells_what_its_bundle_says() -> None:
    model = builtin_model("photos")
    bundle = builtin_bundle()
    assert (model.name, model.engine, model.precision, model.batch) == ("photos", "onnxruntime", "fp16", 1)
    assert (model.classes, model.side) == (bundle.classes, bundle.preprocess.crop)
    assert model.with_batch(4).batch == 4


def test_another_bundle_is_another_version(tmp_path: Path) -> None:
    bundle = copy_bundle(builtin_bundle(), tmp_path / "copy")
    engine = Shared(builtin_engine())
    before = ServedModel.of("a", bundle, engine).version
    changed = revise_manifest(bundle, lambda manifest: {"provenance": {"note": "changed"}})
    assert ServedModel.of("a", changed, engine).version != before
    assert ServedModel.of("b", Bundle.open(Path(changed.path)), engine).version == (
        ServedModel.of("a", changed, engine).version
    )


def test_it_answers_with_logits_and_closes_its_engine() -> None:
    model = builtin_model()
    reference = builtin_bundle().reference()
    np.testing.assert_allclose(model.run(reference.pixels), reference.logits, atol=1e-3)
    model.close()
    assert isinstance(model.runtime, Shared)
    assert model.runtime.closed
