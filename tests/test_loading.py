"""Weights that do not fit are refused, and change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from ghostclas.bundle import WEIGHTS, Bundle, FileContent, pack, write_bundle
from ghostclas.errors import BundleError
from ghostclas.loading import load_state, load_weights
from ghostclas.models import create_model
from ghostclas.models.folded import fold_batch_norms
from ghostclas.spec import ModelSpec, PreprocessSpec
from ghostclas.weights.reading import CLASSIFIER
from ghostclas.zoo import resolve_spec
from tests.weights.files import saved

SMALL = ModelSpec(name="small", width=0.1, num_classes=5)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model(SMALL)


@pytest.fixture
def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _unchanged(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_missing_tensor_is_named_and_nothing_is_loaded(
    model: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    before = _snapshot(model)
    del state["blocks.3.se.expand.bias"]
    state = {name: value + 1 for name, value in state.items()}
    with pytest.raises(BundleError, match=r"do not fit the model\n +missing: blocks\.3\.se\.expand\.bias$"):
        load_weights(model, saved(state, tmp_path / "weights.safetensors"))
    assert _unchanged(model, before)


def test_an_extra_tensor_is_named(model: nn.Module, state: dict[str, Tensor], tmp_path: Path) -> None:
    state["blocks.16.expand.primary.conv.weight"] = torch.zeros(1)
    with pytest.raises(BundleError, match=r"not in the model: blocks\.16\.expand\.primary\.conv\.weight$"):
        load_weights(model, saved(state, tmp_path / "weights.safetensors"))


def test_a_misshapen_tensor_is_named_with_both_shapes(
    model: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    state["tail.conv.weight"] = state["tail.conv.weight"][:-1].contiguous()
    with pytest.raises(
        BundleError, match=r"of another shape: tail\.conv\.weight \[95, 16, 1, 1\], not \[96, 16, 1, 1\]$"
    ):
        load_weights(model, saved(state, tmp_path / "weights.safetensors"))


def test_a_long_list_is_cut_and_counted(model: nn.Module, state: dict[str, Tensor], tmp_path: Path) -> None:
    kept = {name: value for name, value in state.items() if name.startswith("stem.")}
    optional = sum(name.endswith("num_batches_tracked") for name in state if name not in kept)
    missing = len(state) - len(kept) - optional
    with pytest.raises(BundleError, match=rf"missing: \S+, (\S+, ){{4}}\S+ and {missing - 6} more") as error:
        load_weights(model, saved(kept, tmp_path / "weights.safetensors"))
    assert max(map(len, str(error.value).splitlines())) < 400


def test_another_flavour_is_said_to_be_one(state: dict[str, Tensor], tmp_path: Path) -> None:
    original = create_model(SMALL.model_copy(update={"flavour": "original"}))
    with pytest.raises(
        BundleError, match="the file is of flavour 'paddleclas' and the model of flavour 'original'"
    ):
        load_weights(original, saved(state, tmp_path / "weights.safetensors"))


def test_another_width_is_said_to_be_one(state: dict[str, Tensor], tmp_path: Path) -> None:
    wide = create_model(SMALL.model_copy(update={"width": 1.0}))
    with pytest.raises(BundleError, match="the file is of another width than the model"):
        load_weights(wide, saved(state, tmp_path / "weights.safetensors"))


def test_another_number_of_classes_needs_the_classifier_reset(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    file = saved(state, tmp_path / "weights.safetensors")
    other = create_model(SMALL.model_copy(update={"num_classes": 3}))
    before = _snapshot(other)
    with pytest.raises(BundleError, match="the file has 5 classes and the model 3: reset the classifier"):
        load_weights(other, file)
    assert _unchanged(other, before)

    assert load_weights(other, file, reset_classifier=True) == CLASSIFIER
    for name, value in other.state_dict().items():
        assert torch.equal(value, before[name] if name in CLASSIFIER else state[name]), name


def test_resetting_keeps_a_classifier_of_the_same_size(
    model: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    state = {name: value + 1 for name, value in state.items()}
    assert load_weights(model, saved(state, tmp_path / "weights.safetensors"), reset_classifier=True) == ()
    assert _unchanged(model, state)


def test_resetting_excuses_nothing_else(state: dict[str, Tensor], tmp_path: Path) -> None:
    del state["head.conv.weight"]
    other = create_model(SMALL.model_copy(update={"num_classes": 3}))
    with pytest.raises(BundleError, match=r"missing: head\.conv\.weight$"):
        load_weights(other, saved(state, tmp_path / "weights.safetensors"), reset_classifier=True)


def test_batch_counters_may_be_absent_and_are_kept_where_present(
    model: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    for name in counters:
        state[name].fill_(41)
    load_weights(model, saved(state, tmp_path / "with.safetensors"))
    assert all(model.state_dict()[name] == 41 for name in counters)

    fresh = create_model(SMALL)
    without = {name: value for name, value in state.items() if name not in counters}
    assert set(load_weights(fresh, saved(without, tmp_path / "without.safetensors"))) == set(counters)
    assert all(fresh.state_dict()[name] == 0 for name in counters)


@pytest.fixture
def bundle(state: dict[str, Tensor], tmp_path: Path) -> Bundle:
    return write_bundle(
        tmp_path / "runs" / "one" / "bundle",
        name="small",
        spec=SMALL,
        classes=[f"class {index}" for index in range(5)],
        preprocess=PreprocessSpec(),
        files={WEIGHTS: FileContent(save(state), format="safetensors")},
    )


def test_a_bundle_its_zip_and_its_run_give_the_same_weights(
    bundle: Bundle, state: dict[str, Tensor], tmp_path: Path
) -> None:
    for path in (bundle.path, bundle.path.parent, pack(bundle, tmp_path / "packed.zip")):
        loaded = load_state(path)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_the_weights_of_a_bundle_are_verified(bundle: Bundle) -> None:
    file = bundle.path / WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=WEIGHTS):
        load_state(bundle.path)


def test_a_path_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.pth: no such file"):
        load_state(tmp_path / "gone.pth")
    with pytest.raises(BundleError, match=str(tmp_path)):
        load_state(tmp_path)


def test_merged_weights_are_said_to_be_merged(tmp_path: Path) -> None:
    network = create_model(resolve_spec("ghostnetv3_x0_25", num_classes=5))
    merged = fold_batch_norms(network).state_dict()
    with pytest.raises(BundleError, match="its branches are merged into one convolution each"):
        load_weights(network, saved(merged, tmp_path / "merged.safetensors"))
