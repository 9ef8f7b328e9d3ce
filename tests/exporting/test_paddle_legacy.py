"""The form that PaddleClas' deployments take: normalised planes, scores on request, ``inference.yml``."""

from __future__ import annotations

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
from ghostclas.exporting.paddle_legacy import inference_config, normalised_planes
from ghostclas.imaging import softmax
from tests.exporting.added import present

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
