"""Which engine ``auto`` takes, and in what precision it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from ghostclas.bundle import Bundle
from ghostclas.engines import ENGINES, open_engine
from ghostclas.engines.choice import common_choice
from ghostclas.errors import BundleError, UsageError
from tests.engines.linear import bundle_of, linear_model, needs_openvino


@pytest.fixture
def no_faster_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that is not faster in bf16."""
    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.is_faster_in", lambda precision: False)


@pytest.mark.usefixtures("no_faster_precision")
def test_auto_takes_the_first_engine_whose_answers_were_compared(full_bundle: Bundle) -> None:
    compared = {result.engine for result in full_bundle.manifest.parity if result.ok}
    engine = open_engine("auto", full_bundle)
    assert engine.name == next(name for name in ENGINES if name in compared)
    engine.close()


@pytest.mark.usefixtures("no_faster_precision")
def test_auto_never_takes_an_engine_that_fails_parity(full_bundle: Bundle) -> None:
    manifest = full_bundle.manifest
    first = next(name for name in ENGINES if name in {result.engine for result in manifest.parity})
    failing = [
        result.model_copy(update={"ok": result.ok and result.engine != first}) for result in manifest.parity
    ]
    bundle = Bundle(
        full_bundle.path, full_bundle._store, manifest.model_copy(update={"parity": tuple(failing)})
    )
    right = {result.engine for result in failing if result.ok}
    if not right:
        pytest.skip("only one engine was compared")
    engine = open_engine("auto", bundle)
    assert engine.name == next(name for name in ENGINES if name in right)
    engine.close()


def with_bf16(bundle: Bundle, *, ok: bool) -> Bundle:
    """Return the bundle with two engines' parity in float32 right, and OpenVINO's in bf16 as ``ok`` says."""
    first = next(result for result in bundle.manifest.parity if result.engine == "onnxruntime" and result.ok)
    known = next(result for result in bundle.manifest.parity if result.engine == "openvino" and result.ok)
    own = known.model_copy(update={"arithmetic": None})
    less = known.model_copy(update={"arithmetic": "bf16", "ok": ok})
    return Bundle(
        bundle.path, bundle._store, bundle.manifest.model_copy(update={"parity": (first, own, less)})
    )


@needs_openvino
@pytest.mark.parametrize("can", [True, False])
@pytest.mark.parametrize("is_faster", [True, False])
@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("precision", [None, "fp32"])
def test_auto_computes_in_bf16_where_that_was_right_and_the_processor_is_faster_so(
    full_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    can: bool,
    is_faster: bool,
    ok: bool,
    precision: str | None,
) -> None:
    bundle = with_bf16(full_bundle, ok=ok)
    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.supports", lambda precision: can)
    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.is_faster_in", lambda precision: is_faster)
    opened: Any = open_engine("auto", bundle, precision=precision)
    faster = can and is_faster and ok and precision is None
    assert opened.name == ("openvino" if faster else "onnxruntime")
    assert getattr(opened, "inference_precision", None) == ("bf16" if faster else None)
    opened.close()


@needs_openvino
def test_auto_takes_for_a_few_photos_what_starts_fastest(
    full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.supports", lambda precision: True)
    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.is_faster_in", lambda precision: True)
    wanted: dict[Literal["throughput", "startup"], str] = {"throughput": "openvino", "startup": "onnxruntime"}
    for goal, name in wanted.items():
        opened = open_engine("auto", with_bf16(full_bundle, ok=True), optimize_for=goal)
        assert opened.name == name
        opened.close()


@needs_openvino
def test_an_engine_that_is_named_computes_in_the_precision_of_the_file(full_bundle: Bundle) -> None:
    opened: Any = open_engine("openvino", with_bf16(full_bundle, ok=True))
    assert opened.inference_precision is None
    opened.close()


def test_auto_runs_a_bundle_that_nobody_compared_in_the_engine_of_its_default_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(linear_model().SerializeToString(), tmp_path / "b")
    engine = open_engine("auto", bundle)
    assert engine.name == "onnxruntime"
    engine.close()
    monkeypatch.setattr("ghostclas.engines.choice.installed_engines", lambda: ["ncnn"])
    with pytest.raises(BundleError, match=r"no installed engine reads a file .*files: onnx; engines: ncnn"):
        open_engine("auto", bundle)


def with_precisions(bundle: Bundle, *precisions: str) -> Bundle:
    """Return the bundle as if its one file were there in other precisions."""
    (entry,) = bundle.manifest.files
    files = tuple(entry.model_copy(update={"precision": precision}) for precision in precisions)
    return Bundle(bundle.path, bundle._store, bundle.manifest.model_copy(update={"files": files}))


def test_models_to_compare_share_an_engine_and_a_precision(tmp_path: Path) -> None:
    one = bundle_of(linear_model().SerializeToString(), tmp_path / "b")
    half, both, eighth = (with_precisions(one, *kinds) for kinds in (["fp16"], ["fp32", "fp16"], ["int8"]))
    assert common_choice([one, one]) == ("onnxruntime", "fp32")
    assert common_choice([half, both]) == ("onnxruntime", "fp16")
    assert common_choice([eighth, eighth]) == ("onnxruntime", "int8")
    assert common_choice([both, half], engine="onnxruntime", precision="fp16") == ("onnxruntime", "fp16")
    with pytest.raises(UsageError, match=r"no installed engine computes .* in one precision(.|\n)*onnx int8"):
        common_choice([one, eighth])
    with pytest.raises(UsageError, match="onnxruntime does not compute these models in fp16"):
        common_choice([one, half], engine="onnxruntime", precision="fp16")
    with pytest.raises(UsageError, match="there is no precision 'fp23'"):
        common_choice([one, one], precision="fp23")


@needs_openvino
def test_models_of_which_auto_would_take_two_engines_share_one(full_bundle: Bundle, tmp_path: Path) -> None:
    faster = with_bf16(full_bundle, ok=True)
    assert common_choice([faster, faster]) == ("openvino", "fp32")
    other = bundle_of(linear_model().SerializeToString(), tmp_path / "b")
    assert common_choice([faster, other]) == ("onnxruntime", "fp32")


@needs_openvino
def test_a_missing_int8_file_is_asked_for_in_the_engine_s_own_format(small_bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"(?s)no openvino int8 file .* --format openvino --precision int8 --cal"
    ):
        open_engine("openvino", small_bundle, precision="int8")
    with pytest.raises(BundleError, match=r"(?s)no onnx int8 file .* --format onnx --precision int8 --cal"):
        open_engine("onnxruntime", small_bundle, precision="int8")
