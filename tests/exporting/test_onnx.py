"""``export_bundle``: the bundles that it writes, and its refusals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load
from torch import nn

import ghostclas
from ghostclas.bundle import MANIFEST, WEIGHTS, Bundle
from ghostclas.engines import open_engine
from ghostclas.errors import ExportError, UsageError
from ghostclas.exporting import onnx as export
from ghostclas.exporting.onnx import MODEL, export_bundle
from ghostclas.loading import load_state, load_weights
from ghostclas.models.registry import create_model
from ghostclas.models.saved import bundle_state
from tests.exporting.stub import CLASSES, PREPROCESS, SPEC, network, torch_logits


def graph_of(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load_model_from_string(bundle.file().read())


def run(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    engine = open_engine("onnxruntime", bundle, threads=1)
    logits = engine.run(images)
    engine.close()
    return logits


def test_the_bundle_says_what_it_was_told(exported: Bundle) -> None:
    manifest = exported.manifest
    assert [entry.path for entry in manifest.files] == [
        "model.onnx",
        "weights.safetensors",
        "reference.safetensors",
    ]
    assert exported.classes == CLASSES
    assert exported.spec == SPEC
    assert exported.preprocess == PREPROCESS
    assert exported.postprocess.temperature == 2
    assert manifest.metrics[0].dataset == "val"
    assert manifest.provenance["recipe"] == "by hand"
    (parity,) = manifest.parity
    assert (parity.file, parity.engine, parity.ok) == ("model.onnx", "onnxruntime", True)
    assert parity.max_abs <= 1e-3
    assert parity.top1_agreement == 1
    exported.check()


def test_the_file_answers_as_the_network_does(exported: Bundle) -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    # Uniform photos show whether the borders are padded with what normalises to zero.
    images[0], images[1] = 0, 255
    wanted = torch_logits(network(), images)
    tolerance = 1e-4 if exported.file().entry.precision == "fp32" else 2e-2
    np.testing.assert_allclose(run(exported, images), wanted, rtol=0, atol=tolerance)
    assert wanted.std(axis=0).max() > 10 * tolerance


def test_the_graph_is_uint8_photos_to_float_logits_for_any_batch(exported: Bundle) -> None:
    graph = graph_of(exported).graph

    def shape(value: Any) -> list[Any]:
        return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]

    assert [(v.name, v.type.tensor_type.elem_type, shape(v)) for v in graph.input] == [
        ("images", onnx.TensorProto.UINT8, ["N", 32, 32, 3])
    ]
    assert [(v.name, v.type.tensor_type.elem_type, shape(v)) for v in graph.output] == [
        ("logits", onnx.TensorProto.FLOAT, ["N", 3])
    ]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert run(exported, np.zeros((5, 32, 32, 3), np.uint8)).shape == (5, 3)


def test_the_graph_holds_nothing_of_the_machine_it_was_made_on(exported: Bundle) -> None:
    proto = graph_of(exported)
    for tensor in proto.graph.initializer:
        tensor.ClearField("raw_data")
    bare = proto.SerializeToString()
    assert b"/" not in bare
    assert b"\\" not in bare
    assert not re.search(rb"pkg\.|torch|onnxscript|\.py|Traceback|File ", bare)
    assert proto.producer_name == "ghostclas"


def test_exporting_again_gives_the_same_bytes(exported: Bundle, tmp_path: Path) -> None:
    precision = exported.file().entry.precision
    again = export_bundle(network(), SPEC, CLASSES, PREPROCESS, tmp_path / "again", precision=precision)
    for name in ("model.onnx", "weights.safetensors", "reference.safetensors"):
        assert again.read(name) == exported.read(name)


def test_the_model_is_not_changed(tmp_path: Path) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_bundle(model, SPEC, CLASSES, PREPROCESS, tmp_path / "bundle", precision="fp16")
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_bundle(network(), SPEC, CLASSES, PREPROCESS, tmp_path / "bundle")
    assert capfd.readouterr() == ("", "")


def test_matrices_are_stored_in_half_the_bytes_in_both_files(half: Bundle) -> None:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph_of(half).graph.initializer}
    weights = load(half.read(WEIGHTS))
    original = network().state_dict()
    assert weights.keys() == original.keys()
    for name, value in original.items():
        if value.ndim > 1:
            assert tensors[name].dtype == np.float16
            assert weights[name].dtype == np.float16
            np.testing.assert_array_equal(weights[name], value.half().numpy())
        else:
            np.testing.assert_array_equal(weights[name], value.numpy())
    assert [entry.precision for entry in half.manifest.files[:2]] == ["fp16", "fp16"]


def test_rounding_is_recorded(half: Bundle) -> None:
    rounding: Any = half.manifest.provenance["rounding"]
    assert 0 < rounding["max_abs"] < 0.05
    assert rounding["top1_agreement"] == 1


@pytest.mark.parametrize("compact", [False, True])
def test_a_half_bundle_can_be_exported_again_without_loss(tmp_path: Path, compact: bool) -> None:
    first = export_bundle(
        network(), SPEC, CLASSES, PREPROCESS, tmp_path / "first", precision="fp16", compact=compact
    )
    rebuilt = network()
    for tensor in rebuilt.state_dict().values():
        tensor.zero_()
    rebuilt.load_state_dict(bundle_state(first))
    again = export_bundle(
        rebuilt, SPEC, CLASSES, PREPROCESS, tmp_path / "again", precision="fp16", compact=compact
    )
    assert again.read(MODEL) == first.read(MODEL)


def test_only_a_half_bundle_can_be_compact(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only an fp16 bundle of a network without branches"):
        export_bundle(network(), SPEC, CLASSES, PREPROCESS, tmp_path / "bundle", compact=True)


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"5\.weight has values beyond the range of float16"):
        export_bundle(network(scale=1e6), SPEC, CLASSES, PREPROCESS, tmp_path / "bundle", precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_answers_differently_never_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = export.to_onnx

    def dishonest(*args: Any, **options: Any) -> Any:
        proto = honest(*args, **options)
        bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "5.bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        return proto

    monkeypatch.setattr(export, "to_onnx", dishonest)
    with pytest.raises(ExportError, match=r"model\.onnx in onnxruntime: logits differ by up to 0\.01"):
        export_bundle(network(), SPEC, CLASSES, PREPROCESS, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_folding_that_changes_the_answers_is_refused(tmp_path: Path) -> None:
    class Backwards(nn.Sequential):
        """A container whose order is not the order of its children."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[0](self[1](x))

    model = network()
    norm = nn.BatchNorm2d(3)
    assert norm.running_mean is not None
    nn.init.normal_(norm.running_mean)
    model[0] = Backwards(nn.Conv2d(3, 3, 1), norm, nn.Identity())
    model[1] = nn.Conv2d(3, 8, 1)
    with pytest.raises(ExportError, match="folding its norms changes the network's answers"):
        export_bundle(model, SPEC, CLASSES, PREPROCESS, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_diverged_is_refused(tmp_path: Path) -> None:
    model = network()
    classifier = model[-1]
    assert isinstance(classifier, nn.Linear)
    nn.init.constant_(classifier.bias, float("nan"))
    with pytest.raises(ExportError, match="logits are not finite"):
        export_bundle(model, SPEC, CLASSES, PREPROCESS, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_traced_is_told_in_one_line(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum().item() > 0 else -x

    model = network()
    model.append(Undecided())
    with pytest.raises(ExportError, match="torch cannot write this network as ONNX") as caught:
        export_bundle(model, SPEC, CLASSES, PREPROCESS, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("classes", "options", "error", "message"),
    [
        (("a", "b"), {}, UsageError, "2 classes were named for a network with 3 outputs"),
        (CLASSES, {"precision": "int4"}, UsageError, "there is no precision 'int4' for ONNX"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    tmp_path: Path, classes: Sequence[str], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_bundle(network(), SPEC, classes, PREPROCESS, tmp_path / "bundle", **options)


def test_a_spec_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"the network gives \[4, 5\], not \[N, 3\] as its spec says"):
        export_bundle(network(classes=5), SPEC, CLASSES, PREPROCESS, tmp_path / "bundle")


def test_exporting_over_a_bundle_replaces_it(half: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    export_bundle(network(), SPEC, CLASSES, PREPROCESS, target)
    spec = SPEC.model_copy(update={"name": "second"})
    assert export_bundle(network(), spec, ("x", "y", "z"), PREPROCESS, target).classes == ("x", "y", "z")
    assert Bundle.open(target).name == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_export_leaves_the_bundle_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    export_bundle(network(), SPEC, CLASSES, PREPROCESS, target)
    before = (target / MANIFEST).read_bytes()
    with pytest.raises(ExportError):
        export_bundle(network(scale=1e6), SPEC, CLASSES, PREPROCESS, target, precision="fp16")
    assert (target / MANIFEST).read_bytes() == before
    Bundle.open(target).check()


def test_training_continues_from_the_bundle_of_a_ghostnet(small_bundle: Bundle) -> None:
    model = create_model(small_bundle.spec)
    assert load_weights(model, small_bundle.path) == ()
    assert load_state(small_bundle.path).keys() == model.state_dict().keys()
    reference = small_bundle.reference()
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (small_bundle.preprocess.mean, small_bundle.preprocess.std)
    )
    with torch.inference_mode():
        logits = model.eval()((torch.from_numpy(reference.pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(logits.numpy(), reference.logits, rtol=0, atol=1e-4)


def test_the_provenance_has_the_date_and_the_versions(
    exported: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = exported.manifest.provenance["exported"]
    assert isinstance(made, dict)
    assert made.keys() == {"date", "ghostclas", "torch"}
    assert (made["ghostclas"], made["torch"]) == (ghostclas.__version__, str(torch.__version__))


def test_the_steps_of_an_export_are_told(tmp_path: Path) -> None:
    steps: list[str] = []
    export_bundle(network(), SPEC, CLASSES, PREPROCESS, tmp_path / "b", step=steps.append)
    assert steps == ["folding its norms", "writing the graph with torch", "comparing ONNX Runtime with torch"]
