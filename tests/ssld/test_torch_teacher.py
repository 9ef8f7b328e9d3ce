"""EfficientNet-Lite, timm's networks and bundles as torch teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.ssld import TeacherConfig, open_teacher


def test_efficientnet_lite_is_the_network_of_its_package() -> None:
    import torch

    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference is not installed")
    from ghostclas.ssld.torch_teacher import open_torch_teacher
    from ghostclas.zoo import packaged_weights

    teacher = open_torch_teacher(TeacherConfig(model="efficientnet_lite0", resolution=64))
    assert teacher.labels is not None
    assert len(teacher.labels) == teacher.outputs == 1000
    assert teacher.labels[1] == ("n01443537", "goldfish, Carassius auratus", "goldfish")
    reference = package.EfficientNet.from_name("efficientnet-lite0", image_size=64).eval()
    reference.load_state_dict(torch.load(packaged_weights("efficientnet_lite0"), weights_only=True))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
        expected = reference(x).numpy()
    np.testing.assert_allclose(teacher.run(images), expected, atol=1e-4)


def test_a_timm_network_with_given_weights_answers_as_timm_does(tmp_path: Path) -> None:
    import torch

    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=5).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    config = TeacherConfig(
        model="timm:resnet10t",
        weights=str(tmp_path / "weights.pth"),
        classes=str(tmp_path / "names.txt"),
        resolution=64,
    )
    teacher = open_teacher(config)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (teacher.preprocess.mean, teacher.preprocess.std)
    )
    with torch.inference_mode():
        expected = network((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()
    np.testing.assert_allclose(teacher.run(images), expected, atol=1e-4)
    assert teacher.outputs == 5
    with pytest.raises(UsageError, match="timm has no model 'resnet10tt'; did you mean"):
        open_teacher(TeacherConfig(model="timm:resnet10tt"))


def test_batch_norms_by_the_batch_leave_the_teacher_as_it_was(small_bundle: Bundle) -> None:
    import torch

    from ghostclas.ssld.torch_teacher import open_torch_teacher

    teacher = open_torch_teacher(TeacherConfig(model=str(small_bundle.path)))
    pixels = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    before, state = teacher.answer(pixels), {k: v.clone() for k, v in teacher.network.state_dict().items()}
    teacher.normalise_by_batch()
    by_batch = teacher.answer(pixels)
    assert not torch.allclose(before, by_batch, atol=1e-3)
    assert not torch.allclose(by_batch[:2], teacher.answer(pixels[:2]), atol=1e-3), "it depends on the batch"
    for name, value in teacher.network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name]), name
