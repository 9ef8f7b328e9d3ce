"""Exported files name their classes and preprocessing, and say who normalises."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import onnx
import onnxruntime

from ghostclas.bundle import Bundle, FileContent, add_files
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.metadata import DESCRIPTION, LABELS, describe, describe_onnx, describe_tflite
from ghostclas.spec import PreprocessSpec, ResizeSpec
from tests.exporting.added import present
from tests.exporting.stub import CLASSES, PREPROCESS


def test_the_texts_say_what_a_caller_does_and_what_not() -> None:
    texts = describe(["ant", 'a "bee"', "蚁"], PREPROCESS)
    assert json.loads(texts["classes"]) == ["ant", 'a "bee"', "蚁"]
    assert texts["size"] == "32"
    steps = json.loads(texts["preprocess"])
    assert steps["resize"]["short_side"] == 40
    assert steps["crop"] == 32
    assert "mean" not in texts["preprocess"]
    assert "std" not in texts["preprocess"]
    assert "mean 0.2, 0.4, 0.6" in texts["normalisation"]
    assert texts["normalisation"].endswith("do not normalise the input")


def test_the_steps_rebuild_the_preprocessing() -> None:
    spec = PreprocessSpec(resize=ResizeSpec(short_side=300, interpolation="bicubic"), crop=224, exif=False)
    steps = json.loads(describe(["a"], spec)["preprocess"])
    assert PreprocessSpec.model_validate({**steps, "mean": spec.mean, "std": spec.std}) == spec


def test_a_bundle_s_onnx_file_has_them_in_every_runtime(exported: Bundle) -> None:
    session = onnxruntime.InferenceSession(exported.file("onnx").read())
    found = session.get_modelmeta().custom_metadata_map
    assert found == describe(CLASSES, PREPROCESS)


def test_texts_replace_those_of_their_names_alone() -> None:
    proto = onnx.ModelProto()
    describe_onnx(proto, {"size": "1", "other": "kept"})
    describe_onnx(proto, {"size": "2"})
    assert {entry.key: entry.value for entry in proto.metadata_props} == {"size": "2", "other": "kept"}
    assert len(proto.metadata_props) == 2


def test_a_tflite_carries_them_in_a_zip(full_bundle: Bundle, tmp_path: Path) -> None:
    present(full_bundle, "litert")
    content = full_bundle.file("litert").read()
    (tmp_path / "model.tflite").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "model.tflite") as archive:
        assert json.loads(archive.read(DESCRIPTION)) == describe(full_bundle.classes, full_bundle.preprocess)
        assert archive.read(LABELS).decode().splitlines() == list(full_bundle.classes)


def test_the_zip_is_the_same_every_time_and_a_label_is_one_line(tmp_path: Path) -> None:
    texts = describe(["two\nlines", "蚁"], PREPROCESS)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"the graph")
        describe_tflite(tmp_path / name, texts)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().startswith(b"the graph")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.read(LABELS).decode() == "two lines\n蚁\n"


def test_a_file_made_of_an_older_bundle_has_them(tiny_bundle: Bundle) -> None:
    proto = onnx.load_model_from_string(tiny_bundle.file().read())
    del proto.metadata_props[:]
    entry = tiny_bundle.file().entry
    content = FileContent(
        proto.SerializeToString(), "onnx", "fp32", entry.input, entry.output, entry.features
    )
    older = add_files(tiny_bundle, {entry.path: content})
    added = add_format(older, "onnx", precision="fp16")
    found = onnx.load_model_from_string(added.file("onnx", "fp16").read()).metadata_props
    assert {one.key: one.value for one in found} == describe(older.classes, older.preprocess)
