"""Classifiers that PaddleClas exported come in, and answer as Paddle does."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from ghostclas.engines import open_engine
from ghostclas.engines.table import is_installed
from ghostclas.errors import DataError, GhostclasError, UsageError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.paddle_import import import_paddle_model
from ghostclas.exporting.paddle_legacy import normalised_planes
from ghostclas.imaging import preprocess, softmax
from ghostclas.prediction import Classifier
from ghostclas.spec import PreprocessSpec
from tests.images import encode, photo
from tests.paddle_made import pdiparams, program_json

ROOT = Path(__file__).parents[2]
PADDLE = ROOT / ".venvs" / "paddle" / "bin" / "python"
LOADS = ROOT / "tests" / "parity" / "paddle_loads.py"
CLASSES = [f"class {index}" for index in range(10)]

needs_paddleclas = pytest.mark.skipif(
    not (PADDLE.is_file() and is_installed("paddle") and is_installed("paddle2onnx")),
    reason="PaddleClas, Paddle or Paddle2ONNX is not installed",
)


def config(side: int, short: int, **changes: Any) -> dict[str, Any]:
    """``inference.yml`` as PaddleClas writes it."""
    steps: dict[str, Any] = {
        "ResizeImage": {"resize_short": short},
        "CropImage": {"size": side},
        "NormalizeImage": {
            "scale": "1.0/255.0",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "order": "",
            "channel_num": 3,
        },
        "ToCHWImage": None,
    }
    steps |= changes
    return {
        "Global": {"model_name": "made"},
        "PreProcess": {"transform_ops": [{name: value} for name, value in steps.items() if value != "none"]},
        "PostProcess": {"main_indicator": "Topk", "Topk": {"topk": 5, "label_list": CLASSES}},
    }


def write_config(folder: Path, document: Mapping[str, Any]) -> None:
    (folder / "inference.yml").write_text(yaml.safe_dump(document), encoding="utf-8")


def exported(network: str, side: int, folder: Path) -> Path:
    """A network of PaddleClas with random weights, exported by PaddleClas' own way."""
    folder.mkdir()
    pictures = np.stack([photo(side, side, seed=seed) for seed in range(8)])
    np.save(folder / "planes.npy", normalised_planes(pictures, PreprocessSpec()))
    files = [str(folder / name) for name in ("planes.npy", "answer.npy", "inference")]
    command = [str(PADDLE), str(LOADS), network, str(len(CLASSES)), "random", *files]
    subprocess.run(command, check=True, capture_output=True)
    write_config(folder, config(side, side * 8 // 7))
    return folder


def paddles_answer(folder: Path, jpegs: list[bytes], side: int) -> np.ndarray:
    """What PaddleClas' own steps give: OpenCV decodes and scales, Paddle Inference computes."""
    import cv2

    from ghostclas.engines.paddle import import_paddle, open_predictor, run_predictor

    short = side * 8 // 7
    photos = []
    for jpeg in jpegs:
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        pixels = decoded[:, :, ::-1]
        height, width = pixels.shape[:2]
        scale = short / min(height, width)
        pixels = cv2.resize(pixels, (round(width * scale), round(height * scale)))
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        photos.append(pixels[top : top + side, left : left + side])
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    planes = ((np.stack(photos).astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    program, parameters = folder / "inference.json", folder / "inference.pdiparams"
    predictor = open_predictor(import_paddle().inference, program, parameters, threads=1)
    batches = [
        run_predictor(predictor, np.ascontiguousarray(planes[i : i + 10])) for i in range(0, len(planes), 10)
    ]
    return np.concatenate(batches)


@pytest.mark.parametrize(
    ("network", "side", "tolerance"),
    # The classifier of an untrained network enlarges what fifty layers have rounded.
    [("PPLCNet_x0_25", 64, 1e-4), pytest.param("ResNet50", 224, 1e-3, marks=pytest.mark.slow)],
)
@needs_paddleclas
def test_an_exported_classifier_answers_as_paddle_does_on_100_photos(
    network: str, side: int, tolerance: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(network, side, tmp_path / "theirs")
    assert main(["import", "--from", "paddle", str(folder), "--output", str(tmp_path / "ours")]) == 0
    assert "preprocessing: inference.yml" in capsys.readouterr().err
    bundle = Bundle.open(tmp_path / "ours")
    assert bundle.classes == tuple(CLASSES)
    assert bundle.manifest.provenance["imported_from"] == "paddle"
    assert [entry.path for entry in bundle.manifest.files] == ["model.onnx", "reference.safetensors"]
    # Lossless, so that OpenCV's decoder and Pillow's agree.
    pictures = [encode(photo(90 + seed, 150 - seed, seed=seed)) for seed in range(100)]
    wanted = paddles_answer(folder, pictures, side)
    engine = open_engine("onnxruntime", bundle, threads=1)
    found = softmax(
        np.concatenate([engine.run(preprocess(data, bundle.preprocess)[None]) for data in pictures])
    )
    engine.close()
    assert len({int(best) for best in wanted.argmax(axis=1)}) > 1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found.argmax(axis=1), wanted.argmax(axis=1))
    with Classifier.load(bundle.path) as classifier:
        assert classifier(pictures[0]).label == CLASSES[int(wanted[0].argmax())]
    if network == "ResNet50":
        return
    for name in ("openvino", "paddle"):
        bundle = add_format(bundle, name)
    with pytest.raises(UsageError, match=r"has no weights, since it was imported: ncnn cannot be made of it"):
        add_format(bundle, "ncnn")
    assert (
        main(["export", "--model", str(bundle.path), "--format", "onnx", "--output", str(tmp_path / "x")])
        == 2
    )
    planes = normalised_planes(bundle.reference().pixels, bundle.preprocess)
    assert planes.shape[1:] == (3, side, side)


def broken(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    write_config(folder, config(32, 36))
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({}, UsageError, "holds no exported model"),
        (
            {"inference_json": program_json()},
            UsageError,
            r"inference\.pdiparams is missing: Paddle would answer",
        ),
        ({"inference_pdiparams": pdiparams()}, UsageError, r"pdiparams is there, and its program is not"),
        (
            {"inference_json": program_json(), "inference_pdiparams": pdiparams({"bias": (2,)})},
            DataError,
            "is refused and was not run: it holds 1 parameters where its program has 2",
        ),
        (
            {"inference_pdmodel": b"\xff" * 99, "inference_pdiparams": pdiparams()},
            DataError,
            "is refused and was not run: it holds no Paddle program",
        ),
        (
            {
                "inference_json": program_json(operators=[{"#": "1.save_combine"}]),
                "inference_pdiparams": pdiparams(),
            },
            DataError,
            "the operator 'save_combine'",
        ),
        (
            {"inference_json": program_json(), "inference_pdiparams": pdiparams()},
            DataError,
            r"takes uint8 .* where its preprocessing gives float32 \[N, 3, 32, 32\]",
        ),
    ],
    ids=["nothing", "no parameters", "no program", "other parameters", "garbage", "an effect", "other input"],
)
def test_what_cannot_be_imported_is_told_and_leaves_nothing(
    files: dict[str, bytes], kind: type[GhostclasError], said: str, tmp_path: Path
) -> None:
    folder = broken(tmp_path / "theirs", **files)
    with pytest.raises(kind, match=said):
        import_paddle_model(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
