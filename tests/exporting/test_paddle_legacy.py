"""The form that PaddleClas' deployments take: normalised planes, scores on request, ``inference.yml``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ghostclas.bundle import Bundle
from ghostclas.engines.paddle_files import only_computes, read_program
from ghostclas.engines.table import is_installed
from ghostclas.errors import UsageError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.formats import check_formats, named_formats
from ghostclas.exporting.onnx import export_bundle
from ghostclas.exporting.paddle_legacy import inference_config, normalised_planes
from ghostclas.imaging import softmax
from ghostclas.models.registry import create_model
from ghostclas.prediction import Classifier
from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.zoo import resolve_spec
from tests.exporting.added import present
from tests.images import encode, photo
from tests.models.parity import randomised

ROOT = Path(__file__).parents[2]

RUN = """
import sys
import numpy as np
from pathlib import Path
from ghostclas.engines.paddle import import_paddle, open_predictor, run_predictor
program, parameters, planes, target = map(Path, sys.argv[1:])
predictor = open_predictor(import_paddle().inference, program, parameters, threads=1)
np.save(target, run_predictor(predictor, np.load(planes)))
"""


def answers(bundle: Bundle, folder: Path) -> np.ndarray:
    """What Paddle Inference gives for the bundle's reference images, in a process without torch."""
    np.save(folder / "planes.npy", normalised_planes(bundle.reference().pixels, bundle.preprocess))
    files = [
        str(bundle.path / "paddle_legacy" / f"inference.{suffix}") for suffix in ("pdmodel", "pdiparams")
    ]
    command = [sys.executable, "-c", RUN, *files, str(folder / "planes.npy"), str(folder / "answer.npy")]
    subprocess.run(command, check=True, capture_output=True)
    return np.asarray(np.load(folder / "answer.npy"))


def test_it_takes_normalised_planes_and_gives_logits(full_bundle: Bundle, tmp_path: Path) -> None:
    present(full_bundle, "paddle_legacy")
    program = read_program((full_bundle.path / "paddle_legacy" / "inference.pdmodel").read_bytes())
    assert [(port.dtype, port.shape) for port in program.inputs] == [("float32", (None, 3, 64, 64))]
    assert all(map(only_computes, program.operators))
    # Paddle Lite 2.13rc0 crashes on it.
    assert "flatten_contiguous_range" not in program.operators
    reference = full_bundle.reference()
    np.testing.assert_allclose(answers(full_bundle, tmp_path), reference.logits, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not is_installed("paddle"), reason="paddlepaddle is not installed")
def test_scores_are_given_where_they_are_asked_for(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = add_format(tiny_bundle, "paddle_legacy", options={"softmax": "yes"})
    wanted = softmax(bundle.reference().logits)
    np.testing.assert_allclose(answers(bundle, tmp_path), wanted, rtol=0, atol=1e-4)


PADDLE_26 = """
import sys
import numpy as np
from paddle import inference, version
assert version.full_version.startswith("2.6."), version.full_version
program, parameters, planes, target = sys.argv[1:]
config = inference.Config(program, parameters)
config.disable_gpu()
config.disable_glog_info()
predictor = inference.create_predictor(config)
predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(np.load(planes))
predictor.run()
np.save(target, predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
"""

FASTDEPLOY = """
import json, sys
import cv2
import fastdeploy
folder, photos = sys.argv[1], json.loads(sys.argv[2])
option = fastdeploy.RuntimeOption()
option.use_cpu()
option.use_paddle_infer_backend()
files = [folder + "/inference" + suffix for suffix in (".pdmodel", ".pdiparams", ".yml")]
model = fastdeploy.vision.classification.PaddleClasModel(*files, runtime_option=option)
answers = []
for photo in photos:
    result = model.predict(cv2.imread(photo), 5)
    answers.append([result.label_ids, result.scores])
print("answers:", json.dumps(answers))
"""


def needs(name: str, python: str, packages: str) -> pytest.MarkDecorator:
    """Skip without an environment of a deployment's own, and say what makes it."""
    made = f"uv venv --python {python} .venvs/{name} && "
    made += f"uv pip install --python .venvs/{name}/bin/python {packages}"
    return pytest.mark.skipif(
        not interpreter(name).is_file() or not is_installed("paddle"),
        reason=f"no Paddle, or no .venvs/{name}: {made}",
    )


def interpreter(name: str) -> Path:
    return ROOT / ".venvs" / name / "bin" / "python"


@needs("paddle26", "3.11", "paddlepaddle==2.6.2 'numpy<2' setuptools")
def test_paddle_2_answers_as_the_network(full_bundle: Bundle, tmp_path: Path) -> None:
    present(full_bundle, "paddle_legacy")
    reference = full_bundle.reference()
    np.save(tmp_path / "planes.npy", normalised_planes(reference.pixels, full_bundle.preprocess))
    folder = full_bundle.path / "paddle_legacy"
    paths = [folder / "inference.pdmodel", folder / "inference.pdiparams"]
    paths += [tmp_path / "planes.npy", tmp_path / "answer.npy"]
    subprocess.run([interpreter("paddle26"), "-c", PADDLE_26, *paths], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), reference.logits, rtol=0, atol=1e-4)


@needs("fastdeploy", "3.8", "fastdeploy-python==1.0.7 'numpy<2'")
def test_fastdeploy_gives_the_same_five_labels(tmp_path: Path) -> None:
    # It scales as OpenCV does, whatever the configuration says.
    resize = ResizeSpec(short_side=72, antialias=False, library="opencv")
    spec = resolve_spec("ghostnet_x0_5", num_classes=10)
    network = randomised(create_model(spec), seed=5).eval()
    classes = tuple(f"class {index}" for index in range(10))
    bundle = export_bundle(network, spec, classes, PreprocessSpec(resize=resize, crop=64), tmp_path / "b")
    bundle = add_format(bundle, "paddle_legacy", options={"softmax": "yes"})
    photos = [tmp_path / f"{seed}.png" for seed in range(10)]
    for seed, file in enumerate(photos):
        file.write_bytes(encode(photo(90 + 7 * seed, 150 - 5 * seed, seed=seed)))
    names = json.dumps([str(file) for file in photos])
    folder = str(bundle.path / "paddle_legacy")
    command = [str(interpreter("fastdeploy")), "-c", FASTDEPLOY, folder, names]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("answers: ")]
    theirs = json.loads(line.removeprefix("answers: "))
    with Classifier.load(bundle.path, engine="onnxruntime") as classifier:
        ours = [classifier(file, top=5).top for file in photos]
    assert [[label.index for label in top] for top in ours] == [labels for labels, _ in theirs]
    scores = [[label.score for label in top] for top in ours]
    np.testing.assert_allclose([scores_ for _, scores_ in theirs], scores, rtol=0, atol=1e-4)


def test_inference_yml_says_what_a_deployment_needs(full_bundle: Bundle) -> None:
    present(full_bundle, "paddle_legacy")
    text = (full_bundle.path / "paddle_legacy" / "inference.yml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    assert config == inference_config(full_bundle)
    resize, crop, normalise, planes = config["PreProcess"]["transform_ops"]
    assert resize["ResizeImage"]["resize_short"] == 72
    assert crop == {"CropImage": {"size": 64}}
    assert normalise["NormalizeImage"]["mean"] == list(full_bundle.preprocess.mean)
    assert planes == {"ToCHWImage": None}
    assert config["PostProcess"]["Topk"]["label_list"] == list(full_bundle.classes)


@pytest.mark.parametrize(
    ("formats", "options", "meant"),
    [
        ("paddle, openvino", {"legacy": True}, ["paddle_legacy", "openvino"]),
        ("onnx,onnx", {"via": "paddle2onnx"}, ["paddle2onnx"]),
        ("onnx,paddle", {}, ["onnx", "paddle"]),
    ],
)
def test_flags_are_spellings_of_formats(formats: str, options: dict[str, object], meant: list[str]) -> None:
    assert named_formats(formats, **options) == meant  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("formats", "options", "said"),
    [
        ("onnx", {"legacy": True}, "--paddle-legacy is for --format paddle"),
        ("paddle", {"via": "paddle2onnx"}, "--via is for --format onnx"),
        ("onnx", {"via": "x2paddle"}, "not via 'x2paddle'"),
    ],
)
def test_flags_without_their_format_are_refused(formats: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        named_formats(formats, **options)  # type: ignore[arg-type]


def test_an_option_of_another_format_is_refused() -> None:
    with pytest.raises(UsageError, match="softmax is an option of: paddle_legacy"):
        check_formats(["openvino"], "fp32", {"softmax": "yes"})
