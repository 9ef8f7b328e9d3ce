"""``ghostclas export`` on the command line."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ghostclas.bundle import Bundle, copy_bundle
from ghostclas.cli import main
from ghostclas.models.registry import create_model
from ghostclas.zoo import resolve_spec
from tests.full_disk import largest_file


def test_weights_become_a_bundle_that_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, classes, photo = tmp_path / "weights.pth", tmp_path / "classes.txt", tmp_path / "photo.png"
    torch.save(create_model(resolve_spec("ghostnet_x0_5", num_classes=3)).state_dict(), weights)
    classes.write_text("cat\ndog\nhorse\n", encoding="utf-8")
    from PIL import Image

    Image.new("RGB", (50, 40), (200, 30, 90)).save(photo)
    target = tmp_path / "bundle"
    arguments = ["--model", str(weights), "--classes", str(classes), "--output", str(target)]
    assert main(["export", *arguments, "--precision", "fp16"]) == 0
    shown = capsys.readouterr()
    assert "model.onnx" in shown.out
    assert f"--model {target}" in shown.err
    assert Bundle.open(target).classes == ("cat", "dog", "horse")
    assert main(["predict", str(photo), "--model", str(target), "--top", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] in ("cat", "dog", "horse")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "onx"], "did you mean 'onnx'?"),
        (["--precision", "fp8"], "only in: fp32, fp16"),
        (["--model", "nonsense"], "nonsense"),
    ],
)
def test_what_does_not_exist_is_refused_and_nothing_is_written(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bundle"
    assert main(["export", "--model", "default", "--output", str(target), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not target.exists()


def test_export_does_not_replace_what_is_no_bundle(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    assert main(["export", "--model", str(small_bundle.path), "--output", str(tmp_path)]) == 4
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}")
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_is_one_line_and_leaves_the_bundle_that_was_there(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = copy_bundle(small_bundle, tmp_path / "bundle").path
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    with largest_file(100_000):
        assert main(["export", "--model", str(small_bundle.path), "--output", str(target)]) == 7
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.endswith(
        "cannot be written: File too large; it is as it was before. Make room, or choose another folder\n"
    )
    assert shown.count("\n") == 1
    assert {file.name: file.read_bytes() for file in target.iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


# Folders are exchanged where the bundle is written, in a copy of it that a converter works on, and where the
# other format's file is added.
_KILLED = """
import os, signal, sys
from ghostclas import files
from ghostclas.cli import main
point, calls, swap = int(sys.argv[1]), 0, files.swap
def deadly(first, second):
    global calls
    calls += 1
    if calls == point:
        os.kill(os.getpid(), signal.SIGKILL)
    return swap(first, second)
files.swap = deadly
main(["export", *sys.argv[2:]])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills with a signal")
@pytest.mark.parametrize("point", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_export_leaves_a_whole_bundle_and_the_next_one_clears_up(
    small_bundle: Bundle, tmp_path: Path, point: int
) -> None:
    target = copy_bundle(small_bundle, tmp_path / "bundle").path
    before = [entry.path for entry in small_bundle.manifest.files]
    arguments = ["--model", str(small_bundle.path), "--output", str(target)]
    if point > 1:
        arguments += ["--format", "onnx,openvino"]
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(point), *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) > 1
    left = Bundle.open(target)
    left.check()
    assert [entry.path for entry in left.manifest.files] == before
    assert main(["export", *arguments]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    Bundle.open(target).check()


def test_a_terminal_sees_the_step_of_an_export(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        assert (
            main(["export", "--model", str(tiny_bundle.path), "--format", "onnx", "--precision", "fp16"]) == 0
        )
    assert "\ronnx: comparing it with the reference\r" in shown.getvalue()
    assert "\r" not in capsys.readouterr().out
