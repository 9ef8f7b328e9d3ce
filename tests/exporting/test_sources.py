"""Models that can be exported, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas.bundle import Bundle, pack
from ghostclas.engines import open_engine
from ghostclas.errors import BundleError, DataError, UsageError
from ghostclas.exporting.onnx import export_bundle
from ghostclas.exporting.sources import open_trained, recognise
from ghostclas.exporting.trained import Trained
from ghostclas.models.registry import create_model
from ghostclas.zoo import ZOO, resolve_spec


def saved(tmp_path: Path, name: str, outputs: int) -> Path:
    model = create_model(resolve_spec(name, num_classes=outputs))
    path = tmp_path / f"{name}.pth"
    torch.save(model.state_dict(), path)
    return path


def named(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(names) + "\n", encoding="utf-8")
    return path


def logits_of(trained: Trained, bundle: Bundle) -> np.ndarray:
    pixels = torch.from_numpy(bundle.reference().pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (trained.preprocess.mean, trained.preprocess.std))
    with torch.inference_mode():
        return trained.model((pixels - mean) / std).numpy()


@pytest.mark.parametrize("packed", [False, True])
def test_a_bundle_comes_back_as_the_network_it_was_made_of(
    small_bundle: Bundle, tmp_path: Path, packed: bool
) -> None:
    path = pack(small_bundle, tmp_path / "small.zip") if packed else small_bundle.path
    trained = open_trained(path)
    assert (trained.spec, trained.classes) == (small_bundle.spec, small_bundle.classes)
    assert trained.preprocess == small_bundle.preprocess
    reference = small_bundle.reference().logits
    np.testing.assert_allclose(logits_of(trained, small_bundle), reference, atol=1e-3)


@pytest.mark.slow
def test_a_bundle_exported_again_gives_the_same_answers(small_bundle: Bundle, tmp_path: Path) -> None:
    trained = open_trained(small_bundle.path)
    half = export_bundle(
        trained.model, trained.spec, trained.classes, trained.preprocess, tmp_path / "half", precision="fp16"
    )
    reference = small_bundle.reference()
    np.testing.assert_allclose(
        open_engine("onnxruntime", half).run(reference.pixels), reference.logits, atol=0.05
    )
    again = open_trained(half.path)
    np.testing.assert_allclose(logits_of(again, half), half.reference().logits, atol=0.05)


@pytest.mark.parametrize("name", ["ghostnet_x0_5", "ghostnet_x1_0", "ghostnet_050", "ghostnet_130"])
def test_the_network_of_weights_is_recognised(tmp_path: Path, name: str) -> None:
    spec = recognise(saved(tmp_path, name, 11))
    assert (spec.width, spec.flavour) == (ZOO[name].spec.width, ZOO[name].spec.flavour)
    assert spec.num_classes == 11


def test_weights_of_another_width_have_to_be_named(tmp_path: Path) -> None:
    weights = saved(tmp_path, "ghostnet_x0_25", 3)
    classes = named(tmp_path, "a", "b", "c")
    with pytest.raises(UsageError, match="fits no network of the zoo"):
        open_trained(weights, classes=classes)
    trained = open_trained(weights, network="ghostnet_x0_25", classes=classes)
    assert trained.spec.width == 0.25
    assert trained.classes == ("a", "b", "c")
    assert not trained.model.training


def test_weights_do_not_load_into_another_network(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        open_trained(
            saved(tmp_path, "ghostnet_x0_5", 3),
            network="ghostnet_x1_0",
            classes=named(tmp_path, "a", "b", "c"),
        )


def test_class_names_are_asked_for_and_counted(tmp_path: Path) -> None:
    weights = saved(tmp_path, "ghostnet_x0_5", 3)
    with pytest.raises(UsageError, match="--classes FILE"):
        open_trained(weights)
    with pytest.raises(DataError, match=r"names 2 classes, .* has 3"):
        open_trained(weights, classes=named(tmp_path, "a", "b"))
    with pytest.raises(DataError, match="same name: a"):
        open_trained(weights, classes=named(tmp_path, "a", "b", "a"))
    with pytest.raises(DataError, match="cannot be read"):
        open_trained(weights, classes=tmp_path / "gone.txt")


def test_a_bundle_keeps_its_own_class_names(small_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names its own classes"):
        open_trained(small_bundle.path, classes=named(tmp_path, "a"))


@pytest.mark.parametrize(
    ("name", "said"), [("ghostnet_x1_", "ghostnet_x1_0"), ("ghostnet_050", "nobody published")]
)
def test_a_name_without_weights_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_trained(name)
