"""A file from elsewhere is tried in a process of its own; what was tried or made here is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, BundleFile, FileContent, add_files, default_bundle_path
from ghostclas.engines import ENGINES, open_engine, trials
from ghostclas.engines.table import Runtime
from ghostclas.errors import BundleError
from tests.engines.linear import needs_openvino
from tests.limited import ROOT

SLEEPER = Runtime("tests.engines.misbehaving:Engine", "numpy", ("onnx",), trial_seconds=1)
"""An engine of these tests, which behaves as the environment says."""


@pytest.fixture
def stranger(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle that this machine has never seen, with an engine that is not to be trusted."""
    monkeypatch.setenv("GHOSTCLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trials, "_known", set())
    # The worker finds the engine of these tests.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    monkeypatch.setitem(ENGINES, "sleeper", SLEEPER)
    return tiny_bundle


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("crash", r"did not pass its trial: sleeper crashed \(SIGSEGV\) in a process of its own.*--engine"),
        ("spin", "sleeper took more than 1 seconds or was killed"),
        ("sleep", "sleeper took more than 1 seconds or was killed"),
        ("fill", "did not pass its trial"),
        ("exit", r"sleeper ended \(exit status 3\)"),
        ("raise", "did not pass its trial in sleeper: what nobody expected"),
    ],
)
def test_whatever_a_runtime_does_in_a_trial_is_one_error_here(
    stranger: Bundle, monkeypatch: pytest.MonkeyPatch, behaviour: str, message: str
) -> None:
    monkeypatch.setenv("TEST_BEHAVIOUR", behaviour)
    with pytest.raises(BundleError, match=message) as caught:
        open_engine("sleeper", stranger)
    assert str(caught.value).startswith(f"{stranger.path}: model.onnx ")
    assert "\n" not in str(caught.value)
    assert not trials.is_known("sleeper", stranger.file())


def test_a_file_is_tried_once(stranger: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stranger.file()
    open_engine("sleeper", stranger).close()
    assert trials.is_known("sleeper", file)
    # From now on it would fail, were it tried again: by this process and by the next one.
    monkeypatch.setenv("TEST_BEHAVIOUR", "exit-in-trial")
    open_engine("sleeper", stranger).close()
    monkeypatch.setattr(trials, "_known", set())
    open_engine("sleeper", stranger).close()
    assert [path.stat().st_mode & 0o777 for path in tmp_path.glob("cache/tried")] == [0o700]
    other = add_files(stranger, {"model.onnx": _changed(file)})
    assert not trials.is_known("sleeper", other.file())
    assert not trials.is_known("litert", file)


def _changed(file: BundleFile) -> FileContent:
    entry = file.entry
    return FileContent(
        file.read() + b"\x22\x00", "onnx", input=entry.input, output=entry.output, features=entry.features
    )


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_records_that_others_could_have_written_do_not_count(
    stranger: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.remember("sleeper", stranger.file())
    monkeypatch.setattr(trials, "_known", set())
    (tmp_path / "cache" / "tried").chmod(0o777)
    assert not trials.is_known("sleeper", stranger.file())


def test_the_built_in_model_needs_no_trial(stranger: Bundle) -> None:
    assert trials.is_known("openvino", Bundle.open(default_bundle_path()).file())
    assert not trials.is_known("onnxruntime", stranger.file())


def test_a_plain_graph_that_fills_the_memory_is_refused(stranger: Bundle) -> None:
    """``[N, H, W, 3]`` becomes ``[N, H, W, 3, 1]`` times ``[200000]``: 10 GB for one photo."""
    onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    helper, kinds = onnx.helper, onnx.TensorProto
    entry = stranger.file().entry
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=kinds.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "last"], ["deeper"]),
        helper.make_node("Expand", ["deeper", "shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge", "axes"], ["most"], keepdims=0),
        helper.make_node("MatMul", ["most", "weights"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("last", kinds.INT64, [1], [4]),
        helper.make_tensor("shape", kinds.INT64, [5], [1, 1, 1, 1, 200_000]),
        helper.make_tensor("axes", kinds.INT64, [3], [1, 2, 4]),
        helper.make_tensor("weights", kinds.FLOAT, [3, 7], [0.0] * 21),
    ]
    graph = helper.make_graph(
        nodes,
        "huge",
        [helper.make_tensor_value_info("images", kinds.UINT8, ["N", 64, 64, 3])],
        [helper.make_tensor_value_info("logits", kinds.FLOAT, ["N", 7])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content = FileContent(model.SerializeToString(), "onnx", input=entry.input, output=entry.output)
    bundle = add_files(stranger, {"model.onnx": content})
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot run model\.onnx"):
        open_engine("auto", bundle)


@needs_openvino
def test_auto_takes_onnx_runtime_until_the_bundle_was_verified_here(
    full_bundle: Bundle, stranger: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ghostclas.verification import verify

    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.is_faster_in", lambda precision: False)
    bundle = Bundle.open(shutil.copytree(full_bundle.path, tmp_path / "copied"))
    assert any(result.ok and result.engine == "openvino" for result in bundle.manifest.parity)
    fastest = []
    for _ in range(2):
        with_auto = open_engine("auto", bundle)
        fastest.append(with_auto.name)
        with_auto.close()
        verify(bundle, engines=["openvino"])
    assert fastest[0] == "onnxruntime"
    compared = {result.engine for result in bundle.manifest.parity if result.ok}
    assert fastest[1] == next(name for name in ENGINES if name in compared & {"onnxruntime", "openvino"})
