"""Every format has the network's answers, and no path of the machine that made it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, FileParity, pack
from ghostclas.errors import MissingExtraError, UsageError
from ghostclas.exporting.additions import add_format, add_formats
from ghostclas.exporting.formats import FORMATS
from ghostclas.verification import verify
from tests.exporting.added import ENGINE, EXACT, content, present


@pytest.mark.parametrize("name", [name for name in FORMATS if ENGINE.get(name, name)])
def test_every_format_answers_as_the_network_it_was_made_of(name: str, full_bundle: Bundle) -> None:
    present(full_bundle, name)
    file = full_bundle.file(name)
    results = own_precision(full_bundle, file.entry.path)
    assert ENGINE.get(name, name) in {result.engine for result in results}
    assert all(result.ok and result.max_abs <= EXACT and result.top1_agreement == 1 for result in results)


def own_precision(bundle: Bundle, path: str) -> list[FileParity]:
    """What is known of a file, computed in its own precision."""
    return [known for known in bundle.manifest.parity if known.file == path and known.arithmetic is None]


def test_verify_compares_every_file_in_every_engine(full_bundle: Bundle) -> None:
    report = verify(full_bundle)
    asked = {(result.file, result.engine) for result in report.files}
    assert {("model.onnx", "onnxruntime"), ("model.onnx", "openvino")} <= asked
    runnable = {e.path for e in full_bundle.manifest.files if e.input is not None and e.format != "coreml"}
    assert {file for file, _ in asked} == runnable
    assert report.ok


def test_no_file_says_where_it_was_made(full_bundle: Bundle) -> None:
    home = str(Path(__file__).parents[2]).encode()
    for entry in full_bundle.manifest.files:
        assert home not in full_bundle.read(entry.path), entry.path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openvino", "ncnn", "litert"])
def test_half_precision_in_the_other_formats(name: str, tiny_bundle: Bundle) -> None:
    try:
        added = add_format(tiny_bundle, name, precision="fp16")
    except MissingExtraError as error:
        pytest.skip(str(error))
    file = added.file(name, "fp16").entry
    assert ".fp16." in file.path
    assert [result.ok for result in own_precision(added, file.path)] == [True]


def test_a_moved_archive_runs_in_another_place(full_bundle: Bundle, tmp_path: Path) -> None:
    archive = pack(full_bundle, tmp_path / "elsewhere" / "model.zip")
    assert verify(Bundle.open(archive)).ok


@pytest.mark.parametrize(
    ("formats", "precision", "said"),
    [
        (["onxx"], "fp32", "no format 'onxx'; did you mean 'onnx'"),
        (["openvino", "tflite"], "fp32", "no format 'tflite'; did you mean 'litert'"),
        (["xyz"], "fp32", "no format 'xyz'; there are: onnx, openvino"),
        (["executorch"], "fp16", "executorch cannot be written in 'fp16', only in: fp32"),
        (
            ["ncnn"],
            "int8",
            "ncnn cannot be written in 'int8', only in: fp32, fp16; formats with int8: onnx, openvi",
        ),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_done(
    formats: list[str], precision: str, said: str, tiny_bundle: Bundle
) -> None:
    before = content(tiny_bundle)
    with pytest.raises(UsageError, match=said):
        list(add_formats(tiny_bundle, formats, precision=precision))  # type: ignore[arg-type]
    assert content(tiny_bundle) == before


def test_predict_with_every_engine_prints_nothing_but_its_json(full_bundle: Bundle, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(full_bundle.reference().jpegs[0])
    answers = []
    for name in {e.format for e in full_bundle.manifest.files if e.input is not None} - {"coreml"}:
        command = [sys.executable, "-m", "ghostclas", "predict", str(photo), "--json", "--model"]
        command += [str(full_bundle.path), "--engine", ENGINE.get(name, name) or ""]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (line,) = done.stdout.splitlines()
        answers.append([top["label"] for top in json.loads(line)["top"]])
    assert len(answers) >= 2
    assert all(answer == answers[0] for answer in answers)
