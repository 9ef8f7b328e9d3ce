"""Opening a teacher imports only what it needs."""

from __future__ import annotations

from pathlib import Path

from ghostclas.bundle import Bundle
from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.opening import open_training_teacher
from ghostclas.ssld.runtime_teacher import OnnxTeacher
from ghostclas.ssld.torch_teacher import TorchTeacher
from tests.colours import colour_bundle
from tests.fresh import modules_after
from tests.ssld.onnx_teacher import onnx_file


def test_a_bundle_answers_without_torch(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "colours")
    code = (
        "import sys; from ghostclas.ssld.config import TeacherConfig; "
        "from ghostclas.ssld.opening import open_teacher; open_teacher(TeacherConfig(model=sys.argv[1]))"
    )
    assert "torch" not in modules_after(code, str(bundle.path))


def test_training_has_a_bundle_as_a_network_and_an_onnx_file_as_it_is(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    network = open_training_teacher(TeacherConfig(model=str(small_bundle.path)))
    assert isinstance(network, TorchTeacher)
    file = open_training_teacher(TeacherConfig(model=str(onnx_file(tmp_path / "t.onnx"))))
    assert isinstance(file, OnnxTeacher)
