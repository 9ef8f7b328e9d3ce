"""ONNX by way of Paddle, and the whole chain: weights, bundle, Paddle, Paddle2ONNX, ONNX, predictions."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from ghostclas.bundle import Bundle, BundleFile
from ghostclas.engines.choice import load_file
from ghostclas.engines.table import is_installed
from ghostclas.errors import ExportError, MissingExtraError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.onnx import export_bundle
from ghostclas.exporting.paddle2onnx import PATH, require_paddle2onnx, to_onnx
from ghostclas.imaging import softmax
from ghostclas.loading import load_weights
from ghostclas.models.registry import create_model
from ghostclas.prediction.answers import to_predictions
from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.zoo import resolve_spec
from tests.exporting.added import present
from tests.models.parity import randomised
from tests.paddle_made import pdiparams, program_json

needs_paddle2onnx = pytest.mark.skipif(
    not (is_installed("paddle") and is_installed("paddle2onnx")), reason="Paddle2ONNX is not installed"
)


@pytest.mark.slow
@needs_paddle2onnx
def test_the_chain_from_weights_to_predictions_closes_for_three_widths(tmp_path: Path) -> None:
    classes = tuple(f"class {index}" for index in range(10))
    preprocess = PreprocessSpec(resize=ResizeSpec(short_side=64), crop=64)
    for name in ("ghostnet_x0_5", "ghostnet_x1_0", "ghostnet_x1_3"):
        spec = resolve_spec(name, num_classes=len(classes))
        trained = randomised(create_model(spec), seed=5)
        weights = tmp_path / f"{name}.safetensors"
        save_file(trained.state_dict(), weights)
        network = create_model(spec)
        load_weights(network, weights)
        bundle = export_bundle(network.eval(), spec, classes, preprocess, tmp_path / name)
        bundle = add_format(bundle, "paddle2onnx")
        (entry,) = [entry for entry in bundle.manifest.files if entry.path == PATH]
        engine = load_file("onnxruntime", BundleFile(bundle, entry), threads=1)
        pixels = bundle.reference().pixels
        logits = engine.run(pixels)
        engine.close()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
        with torch.inference_mode():
            planes = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
            wanted = trained.eval()((planes - mean) / std).numpy()
        assert wanted.std() > 0.1
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4 * max(1.0, float(wanted.std())))
        answers = to_predictions(logits, bundle.classes, bundle.postprocess)
        assert [answer.label for answer in answers] == [classes[best] for best in wanted.argmax(axis=1)]
        np.testing.assert_allclose(
            [answer.score or 0 for answer in answers], softmax(wanted).max(axis=1), rtol=0, atol=1e-4
        )


def test_the_file_takes_and_gives_what_the_direct_one_does(full_bundle: Bundle) -> None:
    present(full_bundle, "paddle2onnx")
    direct, ours = full_bundle.file("onnx"), full_bundle.file("paddle2onnx")
    assert direct.entry.path == "model.onnx"
    assert (ours.entry.input, ours.entry.output) == (direct.entry.input, direct.entry.output)
    facts = full_bundle.manifest.provenance["paddle2onnx"]
    assert isinstance(facts, dict)
    assert facts["opset"] == 18
    assert set(facts) == {"opset", "version"}
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    answers = []
    for file in (direct, ours):
        engine = load_file("onnxruntime", file, threads=1)
        answers.append(engine.run(images))
        engine.close()
    np.testing.assert_allclose(answers[1], answers[0], rtol=0, atol=1e-4)


@needs_paddle2onnx
@pytest.mark.parametrize("opset", [7, 21])
def test_any_opset_can_be_asked_for(opset: int, full_bundle: Bundle, tmp_path: Path) -> None:
    present(full_bundle, "paddle")
    program, parameters = (
        full_bundle.path / "paddle" / f"inference.{suffix}" for suffix in ("json", "pdiparams")
    )
    to_onnx(program, parameters, tmp_path / "made.onnx", opset=opset)
    made = onnx.load_model(tmp_path / "made.onnx")
    assert [entry.version for entry in made.opset_import] == [opset]
    assert (made.graph.input[0].name, made.graph.output[0].name) == ("images", "logits")


@needs_paddle2onnx
@pytest.mark.parametrize(
    ("program", "parameters", "said"),
    [
        (program_json(), b"", "0 parameters where its program has 2"),
        (program_json(), pdiparams()[:-4], "breaks off"),
        (program_json(), pdiparams({"bias": (2,), "weight": (9, 2)}), "they belong to another model"),
        (b"", pdiparams(), "nothing"),
    ],
    ids=["empty", "cut", "another model", "no program"],
)
def test_files_that_paddle2onnx_would_take_in_silence_are_refused(
    program: bytes, parameters: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_bytes(program)
    (tmp_path / "a.pdiparams").write_bytes(parameters)
    with pytest.raises(ValueError, match=said):
        to_onnx(tmp_path / "a.json", tmp_path / "a.pdiparams", tmp_path / "made.onnx")
    assert not (tmp_path / "made.onnx").exists()


def test_an_unpinned_install_that_found_an_old_version_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paddle2onnx.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "paddle2onnx", raising=False)
    monkeypatch.setattr(metadata, "version", lambda name: "0.9.2")
    with pytest.raises(MissingExtraError, match=r"2\.1 or later is needed, and 0\.9\.2 is installed"):
        require_paddle2onnx()
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(MissingExtraError, match=r"no Paddle2ONNX for Python 3\.13: use Python 3\.12"):
        require_paddle2onnx()


@needs_paddle2onnx
def test_an_opset_that_there_is_not_adds_nothing(small_bundle: Bundle, tmp_path: Path) -> None:
    bundle = Bundle.open(shutil.copytree(small_bundle.path, tmp_path / "b"))
    with pytest.raises(ExportError, match="opset is a number from 7 to 21, not '30'"):
        add_format(bundle, "paddle2onnx", options={"opset": "30"})
