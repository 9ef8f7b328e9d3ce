"""The default preprocessing of a teacher."""

from __future__ import annotations

from pathlib import Path

from ghostclas.ssld import TeacherConfig, open_teacher
from tests.ssld.onnx_teacher import onnx_file


def test_an_onnx_file_without_settings_gets_what_is_usual_for_imagenet(tmp_path: Path) -> None:
    teacher = open_teacher(TeacherConfig(model=str(onnx_file(tmp_path / "t.onnx", side=None))))
    spec = teacher.preprocess
    assert (spec.crop, spec.resize.short_side, spec.mean[0], spec.std[0]) == (224, 256, 0.485, 0.229)
    assert teacher.side is None
    assert teacher.labels is None
