"""Adding formats to a bundle, and the bundle after a failure."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from ghostclas.bundle import REFERENCE, Bundle, FileContent, add_files, pack
from ghostclas.cli import main
from ghostclas.errors import ExportError, MissingExtraError, UsageError
from ghostclas.exporting.additions import add_format
from tests.exporting.added import content


def broken_toolchain(folder: Path, script: str) -> None:
    """A ``pnnx`` whose program is ``script``."""
    package = folder / "pnnx"
    package.mkdir(parents=True)
    program = folder / "program"
    program.write_text(f"#!{sys.executable}\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (package / "__init__.py").write_text(f"EXEC_PATH = {str(program)!r}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit(3)", r"ncnn: converting with pnnx failed: .*exit status 3"),
        ("pass", r"ncnn: converting with pnnx failed: .*ended without writing ncnn/model\.param"),
        (
            "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
            r"ncnn: converting with pnnx ended the converter's process \(exit code -9\)",
        ),
    ],
    ids=["fails", "writes nothing", "kills"],
)
def test_a_toolchain_that_fails_is_told_with_its_step_and_changes_nothing(
    script: str, said: str, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_toolchain(tmp_path / "path", script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"), prepend=os.pathsep)
    before = content(tiny_bundle)
    with pytest.raises(ExportError, match=said):
        add_format(tiny_bundle, "ncnn")
    assert content(Bundle.open(tiny_bundle.path)) == before


def test_one_failing_format_does_not_stop_the_others(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_toolchain(tmp_path / "path", "raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"), prepend=os.pathsep)
    assert main(["export", "--model", str(tiny_bundle.path), "--format", "ncnn,openvino"]) == 7
    shown = capsys.readouterr()
    assert "\n       ncnn: converting with pnnx failed" in shown.err
    assert "error: 1 of 2 formats were not added" in shown.err
    assert shown.out.startswith(f"openvino: {tiny_bundle.path / 'openvino' / 'model.xml'}")
    assert {entry.format for entry in Bundle.open(tiny_bundle.path).manifest.files} >= {"onnx", "openvino"}
    assert not (tiny_bundle.path / "ncnn").exists()


def test_a_missing_toolchain_is_told_with_the_command_that_installs_it(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pnnx.py").write_text("raise ModuleNotFoundError('none', name='pnnx')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    before = content(tiny_bundle)
    with pytest.raises(MissingExtraError, match=r"pip install 'ghostclas\[export-ncnn\]'"):
        add_format(tiny_bundle, "ncnn")
    assert content(tiny_bundle) == before


def test_a_file_that_answers_differently_is_refused(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load(tiny_bundle.read(REFERENCE))
    (name,) = [name for name in tensors if name == "logits"]
    tensors[name] = tensors[name] + np.float32(0.01)
    lying = add_files(tiny_bundle, {REFERENCE: FileContent(save(tensors), "reference")})
    before = content(lying)
    assert main(["export", "--model", str(lying.path), "--format", "openvino"]) == 7
    said = capsys.readouterr().err
    assert "openvino: nothing was added" in said
    assert "openvino/model.xml in openvino: logits differ by up to 0.01 (0.001 is allowed)" in said
    assert content(lying) == before


def test_the_file_that_the_bundle_is_made_of_is_not_replaced(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"was made with model\.onnx: it is there already"):
        add_format(tiny_bundle, "onnx")


@pytest.mark.parametrize("model", ["default", "ghostnet_x1_0"])
def test_files_are_added_only_to_a_bundle_of_the_users(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--model", model, "--format", "openvino"]) == 2
    assert "--output" in capsys.readouterr().err


def test_an_archive_is_not_changed_in_place(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = pack(small_bundle, tmp_path / "model.zip")
    assert main(["export", "--model", str(archive), "--format", "openvino"]) == 4
    assert "an archive is not changed in place" in capsys.readouterr().err


def test_output_gets_a_copy_with_the_file_and_the_model_stays_as_it_was(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    before = content(small_bundle)
    target = tmp_path / "copy"
    arguments = ["--model", str(small_bundle.path), "--output", str(target), "--format", "openvino"]
    assert main(["export", *arguments]) == 0
    copy = Bundle.open(target)
    copy.check()
    assert content(small_bundle) == before
    assert {entry.format for entry in copy.manifest.files} == {"onnx", "weights", "reference", "openvino"}
    assert copy.read("model.onnx") == small_bundle.read("model.onnx")


def test_the_steps_of_a_conversion_are_told(tiny_bundle: Bundle) -> None:
    steps: list[str] = []
    add_format(tiny_bundle, "onnx", precision="fp16", step=steps.append)
    assert steps[0] == "onnx: starting"
    assert steps[-1] == "onnx: comparing it with the reference"
    assert all(step.startswith("onnx: ") for step in steps)
