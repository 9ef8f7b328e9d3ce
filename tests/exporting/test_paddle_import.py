"""Classifiers that PaddleClas exported come in, and answer as Paddle does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ghostclas.bundle import Bundle
from ghostclas.cli import main
from ghostclas.engines import ENGINES, open_engine
from ghostclas.engines.table import is_installed
from ghostclas.errors import DataError, GhostclasError, UsageError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.paddle_import import import_paddle_model
from ghostclas.exporting.paddle_legacy import normalised_planes
from ghostclas.exporting.paddle_preprocess import read_transforms
from ghostclas.imaging import preprocess, softmax
from ghostclas.prediction import Classifier
from tests.images import encode, photo
from tests.paddle_made import pdiparams, program_json, program_protobuf
from tests.real_data import CLOTHING

ROOT = Path(__file__).parents[2]
PADDLE = ROOT / ".venvs" / "paddle" / "bin" / "python"
LOADS = ROOT / "tests" / "parity" / "paddle_loads.py"
PREDICTS = ROOT / "tests" / "parity" / "paddleclas_predicts.py"
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


def photo_files(part: str, folder: Path, count: int = 100) -> tuple[list[Path], list[int]]:
    """Photos of ``shared/data`` and their classes, spread over all; drawn ones where there are none."""
    if CLOTHING.is_dir():
        kinds = sorted(kind for kind in (CLOTHING / part).iterdir() if kind.is_dir())
        files = [(file, label) for label, kind in enumerate(kinds) for file in sorted(kind.glob("*.jpg"))]
        chosen = [files[index * len(files) // count] for index in range(count)]
        return [file for file, _ in chosen], [label for _, label in chosen]
    (folder / part).mkdir()
    first = len(part) * 1000
    drawn = []
    for seed in range(count):
        drawn.append(folder / part / f"{seed}.png")
        drawn[-1].write_bytes(encode(photo(90 + seed, 150 - seed, seed=first + seed)))
    return drawn, [seed % len(CLASSES) for seed in range(count)]


def exported(network: str, side: int, folder: Path) -> Path:
    """A network of PaddleClas, fitted to photos, exported by PaddleClas' own way."""
    folder.mkdir()
    document = config(side, side * 8 // 7)
    steps = read_transforms(document["PreProcess"]["transform_ops"])
    files, labels = photo_files("train", folder)
    pixels = np.stack([preprocess(file.read_bytes(), steps) for file in files])
    np.save(folder / "planes.npy", normalised_planes(pixels, steps))
    np.save(folder / "labels.npy", labels)
    paths = [str(folder / name) for name in ("labels.npy", "planes.npy", "answer.npy", "inference")]
    command = [str(PADDLE), str(LOADS), network, str(len(CLASSES)), *paths]
    subprocess.run(command, check=True, capture_output=True)
    write_config(folder, document)
    return folder


def paddles_answer(folder: Path, files: list[Path]) -> np.ndarray:
    """What PaddleClas gives for photos: its own steps, and Paddle Inference on the raw export."""
    (packages,) = (ROOT / ".venvs" / "paddle" / "lib").glob("python3*/site-packages")
    (folder / "photos.json").write_text(json.dumps([str(file) for file in files]), encoding="utf-8")
    paths = [str(path) for path in (packages, folder, folder / "photos.json", folder / "scores.npy")]
    subprocess.run([sys.executable, str(PREDICTS), *paths], check=True, capture_output=True)
    return np.asarray(np.load(folder / "scores.npy"))


@pytest.mark.parametrize(
    ("network", "side"),
    [
        ("PPLCNet_x0_25", 64),
        *(
            pytest.param(name, side, marks=pytest.mark.slow)
            for name, side in (
                ("ResNet50", 224),
                ("MobileNetV3_small_x0_35", 96),
                ("GhostNet_x0_5", 96),
                ("PPHGNetV2_B0", 96),
            )
        ),
    ],
)
@needs_paddleclas
def test_an_exported_classifier_answers_as_paddle_does_on_100_photos(
    network: str, side: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(network, side, tmp_path / "theirs")
    assert main(["import", "--from", "paddle", str(folder), "--output", str(tmp_path / "ours")]) == 0
    assert "preprocessing: inference.yml" in capsys.readouterr().err
    bundle = Bundle.open(tmp_path / "ours")
    assert bundle.classes == tuple(CLASSES)
    assert bundle.manifest.provenance["imported_from"] == "paddle"
    assert [entry.path for entry in bundle.manifest.files] == ["model.onnx", "reference.safetensors"]
    files, _ = photo_files("val", tmp_path)
    wanted = paddles_answer(folder, files)
    engine = open_engine("onnxruntime", bundle, threads=1)
    pixels = (preprocess(file.read_bytes(), bundle.preprocess) for file in files)
    found = np.concatenate([engine.run(photo_pixels[None]) for photo_pixels in pixels])
    engine.close()
    # Logits count up to a constant, which the softmax of the export takes away; it also ends at zero.
    told = wanted > 1e-30
    assert told.mean() > 0.98
    logits = np.log(np.where(told, wanted, 1).astype(np.float64))
    found_logits = np.log(np.where(told, softmax(found), 1).astype(np.float64))
    assert found.std() > 1
    assert len(set(wanted.argmax(axis=1).tolist())) > 4
    # Of each photo: some are unlike those that the norms know, and have logits ten times as large.
    # Fifty layers with random weights round more than trained ones.
    tolerance = (3e-4 if network == "ResNet50" else 1e-4) * np.maximum(1, found.std(axis=1))
    assert np.median(tolerance) < 5e-4
    differences = np.abs(found_logits - logits).max(axis=1)
    assert (differences <= tolerance).all(), (differences / tolerance).max()
    second, best = np.sort(wanted.astype(np.float64), axis=1)[:, -2:].T
    decided = np.log(best / np.maximum(second, 1e-30)) > 2 * tolerance
    assert decided.mean() > 0.95
    np.testing.assert_array_equal(found.argmax(axis=1)[decided], wanted.argmax(axis=1)[decided])
    with Classifier.load(bundle.path) as classifier:
        assert classifier(files[0]).label == CLASSES[int(wanted[0].argmax())]
    if network != "PPLCNet_x0_25":
        return
    for name in ("openvino", "mnn", "paddle"):
        if not is_installed(ENGINES[name].package):
            continue
        bundle = add_format(bundle, name)
    with pytest.raises(UsageError, match=r"has no weights, since it was imported: ncnn cannot be made of it"):
        add_format(bundle, "ncnn")
    command = ["export", "--model", str(bundle.path), "--format", "onnx", "--output", str(tmp_path / "x")]
    assert main(command) == 2


SMALL = """
import sys
from pathlib import Path
import numpy as np
from ghostclas.engines.paddle import import_paddle
paddle = import_paddle()
paddle.enable_static()
rng = np.random.default_rng(0)
for ending in sys.argv[2:]:
    folder = Path(sys.argv[1]) / ending
    folder.mkdir()
    program, startup = paddle.static.Program(), paddle.static.Program()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.program_guard(program, startup):
        x = paddle.static.data("x", [None, 3, 32, 32], "float32")
        values = rng.normal(0, 0.2, (48, 3)).astype(np.float32) * (ending != "constant")
        weight = paddle.static.create_parameter(
            values.shape, "float32", name="w_" + ending,
            default_initializer=paddle.nn.initializer.Assign(values),
        )
        logits = paddle.reshape(paddle.nn.functional.adaptive_avg_pool2d(x, 4), [-1, 48]) @ weight
        end = paddle.nn.functional.sigmoid if ending == "sigmoid" else paddle.nn.functional.softmax
        executor.run(startup)
        paddle.static.save_inference_model(
            str(folder / "inference"), [x], [end(logits)], executor, program=program
        )
"""


@pytest.fixture(scope="module")
def small_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of three classes that end in a softmax, end in a sigmoid, or answer all photos alike."""
    if not (is_installed("paddle") and is_installed("paddle2onnx")):
        pytest.skip("Paddle or Paddle2ONNX is not installed")
    folder = tmp_path_factory.mktemp("small")
    endings = ["softmax", "sigmoid", "constant"]
    subprocess.run([sys.executable, "-c", SMALL, str(folder), *endings], check=True, capture_output=True)
    return folder


def small(exports: Path, ending: str, target: Path, **changes: Any) -> Path:
    """One of them, with its configuration."""
    shutil.copytree(exports / ending, target)
    document = config(32, 36, **changes)
    document["PostProcess"]["Topk"] = {"class_id_map_file": "../ppcls/utils/names.txt", "delimiter": "\t"}
    write_config(target, document)
    (target / "names.txt").write_bytes("2\t房子\n0\t小狗\n1\t猫, 小猫\n".encode("gbk"))
    return target


def test_a_class_map_beside_the_file_and_a_stretching_resize_come_in(
    small_exports: Path, tmp_path: Path
) -> None:
    import cv2

    stretched = {"size": [50, 40], "interpolation": "bilinear", "backend": "cv2"}
    folder = small(small_exports, "softmax", tmp_path / "theirs", ResizeImage=stretched)
    bundle = import_paddle_model(folder, tmp_path / "ours")
    assert bundle.classes == ("小狗", "猫, 小猫", "房子")
    picture = photo(90, 70, seed=3)
    wanted = cv2.resize(picture, (50, 40))[4:36, 9:41]
    np.testing.assert_array_equal(preprocess(encode(picture), bundle.preprocess), wanted)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("sigmoid", "ends in a sigmoid: models with several labels a photo are not imported"),
        ("constant", "the same answer for every photo: its parameters are damaged"),
    ],
)
def test_a_program_that_is_no_classifier_with_one_label_is_refused(
    ending: str, said: str, small_exports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small(small_exports, ending, tmp_path / "theirs")
    assert main(["import", str(folder), "--output", str(tmp_path / "ours")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder}: ")
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_several_labels_that_were_exported_with_a_softmax_are_refused_by_their_configuration(
    tmp_path: Path,
) -> None:
    folder = broken(
        tmp_path / "theirs", inference_pdmodel=program_protobuf(), inference_pdiparams=pdiparams()
    )
    document = config(32, 36)
    document["PostProcess"] = {"MultiLabelThreshOutput": {"threshold": 0.5}}
    write_config(folder, document)
    with pytest.raises(DataError, match="MultiLabelThreshOutput: only classifiers with one label a photo"):
        import_paddle_model(folder, tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        (
            None,
            UsageError,
            r"names\.txt, which names the 2 classes, is missing: copy it there, or give a list",
        ),
        (b"0 cat\n1 dog\n2 owl\n", DataError, "does not name the classes 0 to 1 of the model, but 3 others"),
        (b"0 cat\n0 dog\n", DataError, "line 2: expected a new number, ' ' and a name but found '0 dog'"),
        (b"cat\ndog\n", DataError, "line 1: expected a new number"),
        (b"0 \xff\n1 b\n", DataError, "is no text in UTF-8 or GBK"),
    ],
    ids=["missing", "too many", "twice", "no numbers", "no text"],
)
def test_a_class_map_that_does_not_fit_is_told(
    names: bytes | None, kind: type[GhostclasError], said: str, tmp_path: Path
) -> None:
    folder = broken(
        tmp_path / "theirs", inference_pdmodel=program_protobuf(), inference_pdiparams=pdiparams()
    )
    document = config(32, 36)
    document["PostProcess"]["Topk"] = {"class_id_map_file": "names.txt"}
    write_config(folder, document)
    if names is not None:
        (folder / "names.txt").write_bytes(names)
    with pytest.raises(kind, match=said):
        import_paddle_model(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


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
            {"inference_pdmodel": program_json(), "inference_pdiparams": pdiparams()},
            DataError,
            r"holds a program of Paddle 3 in inference\.pdmodel, whose name has to end in \.json",
        ),
        (
            {"inference_json": program_protobuf(), "inference_pdiparams": pdiparams()},
            DataError,
            r"holds a program of Paddle 2 in inference\.json, whose name has to end in \.pdmodel",
        ),
        (
            {"inference_json": program_json(), "inference_pdiparams": pdiparams()},
            DataError,
            r"takes uint8 .* where its preprocessing gives float32 \[N, 3, 32, 32\]",
        ),
    ],
    ids=[
        *("nothing", "no parameters", "no program", "other parameters", "garbage", "an effect"),
        *("JSON for an old reader", "an old program for a new one", "other input"),
    ],
)
def test_what_cannot_be_imported_is_told_and_leaves_nothing(
    files: dict[str, bytes], kind: type[GhostclasError], said: str, tmp_path: Path
) -> None:
    folder = broken(tmp_path / "theirs", **files)
    with pytest.raises(kind, match=said):
        import_paddle_model(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
