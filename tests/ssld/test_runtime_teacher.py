"""Bundles and ONNX files as teachers, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.errors import BundleError, DataError, UsageError
from ghostclas.ssld import TeacherConfig, open_teacher
from tests.colours import THREE, colour_bundle
from tests.ssld.onnx_teacher import SIDE, onnx_file


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_a_bundle_answers_as_its_engine_does_and_brings_names_and_preprocessing(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "colours")
    teacher = open_teacher(TeacherConfig(model=str(bundle.path)))
    assert teacher.labels == tuple((name,) for name in THREE)
    assert teacher.preprocess == bundle.preprocess
    means = images().astype(np.float64).mean(axis=(1, 2))
    weights = 4.0 / 255 * (2 * np.eye(3) - 1).T
    np.testing.assert_allclose(teacher.run(images()), means @ weights, atol=1e-4)
    with pytest.raises(UsageError, match="is a bundle and brings its own mean"):
        open_teacher(TeacherConfig(model=str(bundle.path), mean=(0, 0, 0)))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("batch", [None, 2])
def test_an_onnx_file_of_any_layout_sees_the_pixels_it_expects(
    channels_last: bool, kind: str, batch: int | None, tmp_path: Path
) -> None:
    file = onnx_file(tmp_path / "t.onnx", channels_last=channels_last, kind=kind, batch=batch)
    teacher = open_teacher(
        TeacherConfig(model=str(file), mean=(0.5, 0.25, 0.0), std=(0.5, 1, 2), resize=SIDE)
    )
    assert (teacher.side, teacher.outputs, teacher.preprocess.crop) == (SIDE, 3, SIDE)
    means = images().astype(np.float64).mean(axis=(1, 2))
    expected = means if kind == "uint8" else (means / 255 - [0.5, 0.25, 0]) / [0.5, 1, 2]
    np.testing.assert_allclose(teacher.run(images()), expected, rtol=2e-3)


def test_an_onnx_file_that_is_no_teacher_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="is no ONNX file that ONNX Runtime can run"):
        open_teacher(TeacherConfig(model=str(tmp_path / "bad.onnx")))
    with pytest.raises(UsageError, match=r"gone\.onnx.*neither a path nor a known name"):
        open_teacher(TeacherConfig(model=str(tmp_path / "gone.onnx")))
    with pytest.raises(UsageError, match="takes images of 32 x 32, not 64"):
        open_teacher(TeacherConfig(model=str(onnx_file(tmp_path / "t.onnx")), resolution=64))
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"names.txt names 2 classes; .*t.onnx has 3 outputs"):
        open_teacher(TeacherConfig(model=str(tmp_path / "t.onnx"), classes=str(tmp_path / "names.txt")))
