"""What can be added to a bundle, and what happens to the bundle when that fails."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load, save

from ghostclas.bundle import REFERENCE, Bundle, FileContent, FileParity, add_files, pack
from ghostclas.cli import main
from ghostclas.engines import open_engine
from ghostclas.engines.choice import load_file
from ghostclas.errors import BundleError, ExportError, MissingExtraError, UsageError
from ghostclas.exporting import export
from ghostclas.exporting.additions import add_format, add_formats
from ghostclas.exporting.formats import FORMATS, Format
from ghostclas.verification import verify

ENGINE = {"onnx": "onnxruntime", "coreml": None}
EXACT = 1e-3


def content(bundle: Bundle) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()}


def present(bundle: Bundle, name: str) -> None:
    if name not in {entry.format for entry in bundle.manifest.files}:
        pytest.skip(f"the toolchain of {name} is not here")


# ------------------------------------------------------------------ what is written


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


def test_core_ml_is_written_with_its_description_and_told_as_not_run_here(full_bundle: Bundle) -> None:
    present(full_bundle, "coreml")
    entry = full_bundle.file("coreml").entry
    assert entry.path == "model.mlpackage/Manifest.json"
    assert json.loads(full_bundle.read(entry.path))["itemInfoEntries"]
    assert (
        "model.mlpackage/Manifest.json: needs a runtime outside this package" in verify(full_bundle).skipped
    )


def test_no_file_says_where_it_was_made(full_bundle: Bundle) -> None:
    home = str(Path(__file__).parents[2]).encode()
    for entry in full_bundle.manifest.files:
        assert home not in full_bundle.read(entry.path), entry.path


@pytest.mark.parametrize("name", ["onnx", pytest.param("mnn", marks=pytest.mark.slow)])
def test_half_precision_halves_the_file_and_keeps_the_answers(name: str, tiny_bundle: Bundle) -> None:
    full = tiny_bundle if name == "onnx" else add_format(tiny_bundle, name)
    both = add_format(full, name, precision="fp16")
    sizes = {e.precision: e.bytes for e in both.manifest.files if e.format == name}
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    (result,) = [r for r in both.manifest.parity if "fp16" in r.file and r.engine == ENGINE.get(name, name)]
    assert result.ok
    assert 0 < result.max_abs < 0.05


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


def test_a_half_precision_bundle_gives_full_graphs_to_other_formats(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    half = export(small_bundle.path, precision="fp16", output=tmp_path / "half").bundle
    added = add_format(half, "openvino")
    reference = added.reference()
    logits = load_file("openvino", added.file("openvino")).run(reference.pixels)
    np.testing.assert_allclose(logits, reference.logits, rtol=0, atol=EXACT)
    graph = onnx.load_model_from_string(add_format(added, "onnx").read("model.fp32.onnx"))
    assert {tensor.data_type for tensor in graph.graph.initializer} <= {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT64,
    }
    assert not any(node.op_type == "Cast" and ".fp32" in node.output[0] for node in graph.graph.node)


def test_a_moved_archive_runs_in_another_place(full_bundle: Bundle, tmp_path: Path) -> None:
    archive = pack(full_bundle, tmp_path / "elsewhere" / "model.zip")
    assert verify(Bundle.open(archive)).ok


# ------------------------------------------------------------------ converters apart from torch


CONVERTER = """
import json
import sys
from ghostclas.exporting.conversion import Written

def convert(job):
    try:
        import torch
        found = torch.__version__
    except ImportError as error:
        found = str(error)
    try:
        network = type(job.network).__name__
    except RuntimeError as error:
        network = str(error)
    graph = job.onnx_file.read_bytes()
    text = json.dumps([found, network, len(graph) > 1000])
    (job.folder / "made.json").write_text(text, encoding="utf-8")
    return [Written(path="made.json")]
"""


@pytest.mark.parametrize("isolated", [False, True])
def test_a_converter_that_is_isolated_gets_the_onnx_file_and_cannot_import_torch(
    isolated: bool, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    (tmp_path / "made_converter.py").write_text(CONVERTER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setitem(FORMATS, "made", Format("made_converter", isolated=isolated))  # type: ignore[arg-type]
    made = json.loads(add_format(tiny_bundle, "made").read("made.json"))
    if isolated:
        halted = "import of torch halted; None in sys.modules"
        assert made == [halted, "a converter that is isolated from torch has the ONNX file alone", True]
    else:
        assert made == [torch.__version__, "Normalised", True]


def test_the_formats_made_of_the_onnx_file_are_isolated() -> None:
    assert {name for name, row in FORMATS.items() if row.isolated} == {"onnx", "openvino", "mnn"}


# ------------------------------------------------------------------ what fails


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


@pytest.mark.parametrize(
    ("formats", "precision", "said"),
    [
        (["onxx"], "fp32", "no format 'onxx'; did you mean 'onnx'"),
        (["openvino", "tflite"], "fp32", "no format 'tflite'; did you mean 'litert'"),
        (["xyz"], "fp32", "no format 'xyz'; there are: onnx, openvino"),
        (["executorch"], "fp16", "executorch cannot be written in 'fp16'; it can in: fp32"),
        (
            ["ncnn"],
            "int8",
            "ncnn cannot be written in 'int8'; it can in: fp32, fp16; int8 there is of: onnx, openvi",
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


def test_the_file_that_the_bundle_is_made_of_is_not_replaced(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"is made of its model\.onnx: that is there already"):
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


# ------------------------------------------------------------------ .pt2 files that carry code


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def altered(program: bytes, change: dict[str, bytes], *, also: dict[str, bytes] | None = None) -> bytes:
    """The archive with members replaced, by the ends of their names, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as source, zipfile.ZipFile(out, "w") as target:
        names = source.namelist()
        for name in names:
            kept = next((new for end, new in change.items() if name.endswith(end)), None)
            target.writestr(name, source.read(name) if kept is None else kept)
        for name, new in (also or {}).items():
            target.writestr(f"{names[0].partition('/')[0]}/{name}", new)
    return out.getvalue()


def member(program: bytes, end: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(end)))


@pytest.mark.parametrize(
    "way",
    [
        "weight",
        "sample inputs",
        "object",
        "expression",
        "operator",
        "operator as argument",
        "name",
        "tree",
        "second program",
        "compressed",
        "deep",
    ],
)
def test_a_program_that_carries_code_is_refused_and_runs_nothing(
    way: str, full_bundle: Bundle, tmp_path: Path
) -> None:
    present(full_bundle, "torch")
    marker = tmp_path / "it ran"
    honest = full_bundle.read("model.pt2")
    evil = pickle.dumps(Payload(marker))
    graph = member(honest, "models/model.json").decode()
    if way == "weight":
        config = json.loads(member(honest, "model_weights_config.json"))
        next(iter(config["config"].values()))["use_pickle"] = True
        bad = altered(honest, {"model_weights_config.json": json.dumps(config).encode(), "weight_0": evil})
    elif way == "sample inputs":
        bad = altered(honest, {"sample_inputs/model.pt": evil})
    elif way == "object":
        bad = altered(honest, {}, also={"data/constants/opaque_obj_0": evil})
    elif way == "expression":
        call = f"__import__('os').system('touch {marker}')"
        start = graph.index("Symbol('s")
        symbol = graph[start : graph.index(")", start) + 1]
        bad = altered(honest, {"models/model.json": graph.replace(symbol, call).encode()})
    elif way == "operator":
        # It would map a file of the attacker's choice.
        other = graph.replace("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default")
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "operator as argument":
        other = graph.replace('{"as_float"', '{"as_operator": "torch.os.abort", "as_float"', 1)
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "name":
        # Names become the source code of a function.
        other = graph.replace('"images"', json.dumps(f"images=__import__('os').system('touch {marker}')"))
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "tree":
        # Types in a tree specification are imported.
        other = graph.replace("builtins.tuple", "bundle.evil", 1)
        bad = altered(honest, {"models/model.json": other.encode()})
    elif way == "second program":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as target, zipfile.ZipFile(io.BytesIO(honest)) as source:
            target.writestr("evil/models/model.json", graph)
            for name in source.namelist():
                target.writestr(name, source.read(name))
        bad = out.getvalue()
    elif way == "compressed":
        out = io.BytesIO()
        with (
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
            zipfile.ZipFile(io.BytesIO(honest)) as source,
        ):
            for name in source.namelist():
                target.writestr(name, source.read(name))
        bad = out.getvalue()
    else:
        bad = altered(honest, {"models/model.json": b"[" * 200_000})
    entry = full_bundle.file("torch").entry
    copied = Bundle.open(pack(full_bundle, tmp_path / "model.zip"))
    assert copied.read("model.pt2") == honest
    folder = tmp_path / "bundle"
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        archive.extractall(folder)
    lying = add_files(
        Bundle.open(folder), {"model.pt2": FileContent(bad, "torch", "fp32", entry.input, entry.output)}
    )
    with pytest.raises(BundleError, match=r"model\.pt2: (refused, because|it is not) .*; nothing was loaded"):
        open_engine("torch", lying)
    assert not marker.exists()


# ------------------------------------------------------------------ from the outside


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
