"""What was written is read again, and every file is checked when it is used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import Bundle, FileContent, default_bundle_path, pack
from ghostclas.errors import BundleError
from ghostclas.spec import PostprocessSpec
from tests.bundle.made import CLASSES, a_reference, assert_one_sentence, model, write


@pytest.fixture(params=["folder", "zip", "zip of a folder"])
def copy(request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path) -> Path:
    if request.param == "folder":
        return bundle.path
    if request.param == "zip":
        return pack(bundle, tmp_path / "bundle.zip")
    path = tmp_path / "by hand.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bundle.path, "top")
        for file in bundle.path.iterdir():
            archive.write(file, f"top/{file.name}")
        archive.writestr("__MACOSX/top/._model.onnx", b"left by a file manager")
    return path


def test_everything_written_is_read_again(copy: Path) -> None:
    opened = Bundle.open(copy)
    assert opened.name == "a model"
    assert opened.classes == CLASSES
    assert opened.spec.num_classes == 3
    assert opened.preprocess.crop == 32
    assert opened.postprocess == PostprocessSpec()
    assert opened.manifest.provenance == {"recipe": "none", "seed": 1}
    assert opened.read("weights.safetensors") == b"weights"
    file = opened.file()
    assert file.entry.path == "model.onnx"
    assert file.read() == file.path.read_bytes() == b"a model " * 100
    opened.check()
    written, read = a_reference(), opened.reference()
    assert list(read.jpegs) == list(written.jpegs)
    np.testing.assert_array_equal(read.pixels, written.pixels)
    np.testing.assert_array_equal(read.logits, written.logits)


@pytest.mark.parametrize("name", ["model.onnx", "reference.safetensors", "weights.safetensors"])
def test_one_changed_byte_is_caught_when_the_file_is_used(copy: Path, name: str) -> None:
    def change(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    rewrite(copy, name, change)
    opened = Bundle.open(copy)
    with pytest.raises(BundleError, match=f"{name} is not the file that was exported") as caught:
        opened.read(name)
    assert_one_sentence(caught.value, copy)
    with pytest.raises(BundleError, match=name):
        opened.check()
    if name == "model.onnx":
        with pytest.raises(BundleError, match=name):
            _ = opened.file().path
    else:
        assert opened.file().read()


def rewrite(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of a bundle, in a folder or in an archive, whose own checksums stay right."""
    if path.is_dir():
        (path / name).write_bytes(change((path / name).read_bytes()))
        return
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, change(content) if member.rpartition("/")[2] == name else content)


def test_a_file_of_another_length_is_refused_on_opening(copy: Path) -> None:
    rewrite(copy, "model.onnx", lambda content: content[:-1])
    with pytest.raises(BundleError, match=r"model.onnx has 799 bytes, its manifest says 800") as caught:
        Bundle.open(copy)
    assert_one_sentence(caught.value, copy)


def test_an_unknown_file_or_format_is_told_with_what_there_is(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no ncnn file .*there is: onnx fp32(.|\n)*--format ncnn"):
        bundle.file("ncnn")
    with pytest.raises(BundleError, match="no onnx int8 file"):
        bundle.file("onnx", "int8")
    with pytest.raises(BundleError, match=r"no model.bin in this bundle"):
        bundle.read("model.bin")


def test_a_missing_file_is_told_with_the_command_that_adds_it() -> None:
    with pytest.raises(BundleError) as told:
        Bundle.open(default_bundle_path()).file("openvino", "int8")
    assert str(told.value).splitlines()[1] == (
        "       add it with: ghostclas export --model default --format openvino --precision int8 "
        "--calibration PHOTOS --output BUNDLE"
    )


def test_files_without_an_input_of_their_own_come_along(tmp_path: Path) -> None:
    files = {
        "ir/model.bin": FileContent(b"weights", "openvino"),
        "ir/model.xml": model(b"graph", format="openvino"),
        "int8/model.bin": FileContent(b"other weights", "openvino", "int8"),
    }
    path = pack(write(tmp_path / "bundle", files=files), tmp_path / "bundle.zip")
    opened = Bundle.open(path)
    main = opened.file("openvino").path
    assert main.read_bytes() == b"graph"
    assert (main.parent / "model.bin").read_bytes() == b"weights"
    assert not (main.parents[1] / "int8").exists()
    folder = tmp_path / "bundle"
    (folder / "ir/model.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(BundleError, match=r"ir/model.bin is not the file"):
        _ = Bundle.open(folder).file("openvino").path


def test_the_default_bundle_is_part_of_the_package() -> None:
    import ghostclas

    assert default_bundle_path().is_relative_to(Path(str(ghostclas.__file__)).parent)


def test_importing_it_is_cheap() -> None:
    heavy = "torch numpy onnx onnxruntime safetensors PIL"
    code = f"import sys, ghostclas.bundle; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
