"""Weights of the real PaddleClas and timm networks give the same logits in ours."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils import reparameterize_model
from torch import nn

from ghostclas.loading import load_state, load_weights
from ghostclas.models import create_model
from ghostclas.models.branches import has_branches
from ghostclas.models.folded import fold_batch_norms
from ghostclas.spec import ModelSpec
from ghostclas.zoo import ZOO, resolve_spec

ROOT = Path(__file__).parents[2]
REFERENCE_SCRIPT = ROOT / "tests" / "parity" / "paddle_reference.py"
PADDLE_VARIABLE = "GHOSTCLAS_PADDLE_PYTHON"
TOLERANCE = 1e-4
slow = pytest.mark.slow


@pytest.fixture(scope="session")
def paddle_python() -> Path:
    """A Python with paddlepaddle and paddleclas, outside of this process: Paddle and torch do not mix."""
    python = Path(os.environ.get(PADDLE_VARIABLE) or ROOT / ".venvs" / "paddle" / "bin" / "python")
    if not python.is_file():
        pytest.skip(f"no {python}; set {PADDLE_VARIABLE} to a Python with paddlepaddle and paddleclas")
    probe = "from importlib.util import find_spec as f; exit(not (f('paddle') and f('paddleclas')))"
    if subprocess.run([python, "-c", probe], env=_clean_environment(), check=False).returncode:
        pytest.skip(f"{python} has no paddlepaddle or no paddleclas")
    return python


@pytest.mark.parametrize(
    "network",
    ["GhostNet_x0_5", pytest.param("GhostNet_x1_0", marks=slow), pytest.param("GhostNet_x1_3", marks=slow)],
)
def test_paddleclas_weights_give_the_logits_of_paddleclas(
    network: str, paddle_python: Path, tmp_path: Path
) -> None:
    command = [paddle_python, REFERENCE_SCRIPT, network, tmp_path]
    ran = subprocess.run(command, env=_clean_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    reference = np.load(tmp_path / "reference.npz")
    spec = resolve_spec(network)
    for figure in ("parameters", "state_values", "macs"):
        assert reference[figure] == getattr(ZOO[spec.name], figure), figure

    model = create_model(spec).eval()
    load_weights(model, tmp_path / "weights_p4.pdparams")
    difference = _largest_difference(model, reference["images"], reference["logits"])
    print(f"{network}: largest difference {difference:.2e}")
    assert difference <= TOLERANCE

    newest = load_state(tmp_path / "weights_p4.pdparams")
    for protocol in (2, 3):
        state = load_state(tmp_path / f"weights_p{protocol}.pdparams")
        assert list(state) == list(newest)
        assert all(torch.equal(state[name], newest[name]) for name in state)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ghostnet_050", ".safetensors"),
        ("ghostnet_100", ".pth"),
        ("ghostnet_130", ".safetensors"),
        ("ghostnetv2_100", ".safetensors"),
        pytest.param("ghostnetv2_130", ".safetensors", marks=slow),
        pytest.param("ghostnetv2_160", ".safetensors", marks=slow),
        ("ghostnetv3_050", ".pth"),
        pytest.param("ghostnetv3_100", ".safetensors", marks=slow),
        pytest.param("ghostnetv3_130", ".safetensors", marks=slow),
        pytest.param("ghostnetv3_160", ".safetensors", marks=slow),
    ],
)
def test_timm_weights_give_the_logits_of_timm(name: str, suffix: str, tmp_path: Path) -> None:
    theirs = _randomised(timm.create_model(name, pretrained=False), seed=11).eval()
    images = _patchwork(seed=3)
    with torch.no_grad():
        logits = theirs(images).numpy()
    file = tmp_path / f"theirs{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(theirs.state_dict(), file)

    model = create_model(resolve_spec(name)).eval()
    load_weights(model, file)
    difference = _largest_difference(model, images.numpy(), logits)
    print(f"{name}: largest difference {difference:.2e}")
    assert difference <= TOLERANCE
    if has_branches(model):
        deployed = reparameterize_model(theirs)
        with torch.no_grad():
            logits = deployed(images).numpy()
        assert _largest_difference(fold_batch_norms(model), images.numpy(), logits) <= TOLERANCE


def test_the_names_of_the_original_ghostnetv3_are_read(tmp_path: Path) -> None:
    """The authors call the norms of branches ``bn``, timm calls them ``bn1``."""
    theirs = timm.create_model("ghostnetv3_050", pretrained=False)
    original = {
        re.sub(r"(_rpr_\w+(?:\.\d)?)\.bn1\.", r"\1.bn.", name): value
        for name, value in theirs.state_dict().items()
    }
    assert sum(".bn." in name for name in original) > 400
    torch.save({"state_dict": original}, tmp_path / "original.pth.tar")
    assert load_weights(create_model(resolve_spec("ghostnetv3_050")), tmp_path / "original.pth.tar") == ()


def test_the_original_file_with_its_wrapper_and_profiler_counters_loads(tmp_path: Path) -> None:
    """Huawei's own file has timm's names, under DataParallel and with what the FLOP counter left behind."""
    theirs = _randomised(timm.create_model("ghostnet_050", pretrained=False), seed=5).eval()
    original = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    for counter in ("total_ops", "total_params", "blocks.0.0.ghost1.total_ops", "conv_head.total_params"):
        original[f"module.{counter}"] = torch.zeros(1, dtype=torch.float64)
    file = tmp_path / "state_dict_73.98.pth"
    torch.save({"state_dict": original, "epoch": 1}, file)

    model = create_model(resolve_spec("ghostnet_0.5x")).eval()
    load_weights(model, file)
    images = _patchwork(seed=4)
    with torch.no_grad():
        assert _largest_difference(model, images.numpy(), theirs(images).numpy()) <= TOLERANCE


@pytest.mark.parametrize("flavour", ["paddleclas", "original"])
def test_our_own_weights_survive_safetensors_and_checkpoint_unchanged(flavour: str, tmp_path: Path) -> None:
    spec = ModelSpec(name="ours", width=0.35, flavour=flavour, num_classes=7)
    source = _randomised(create_model(spec), seed=2)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    torch.save({"schema": 1, "model": source.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    for path in (tmp_path / "weights.safetensors", tmp_path / "last.pt"):
        copy = create_model(spec)
        assert load_weights(copy, path) == ()
        for name, value in source.state_dict().items():
            assert torch.equal(copy.state_dict()[name], value), name


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _randomised(model: nn.Module, *, seed: int) -> nn.Module:
    """Give every tensor random values that keep activations of order one, so that a misplaced one shows."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(value: torch.Tensor, low: float, high: float) -> None:
        value.copy_(torch.rand(value.shape, generator=generator) * (high - low) + low)

    def normal(value: torch.Tensor, deviation: float) -> None:
        value.copy_(torch.randn(value.shape, generator=generator) * deviation)

    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                # Branches are added up.
                share = 5**-0.5 if re.search(r"rpr|\.(convs|scale|skip)\b", name) else 1.0
                uniform(module.weight, 0.5 * share, 1.5 * share)
                normal(module.bias, 0.3 * share)
                normal(module.running_mean, 0.3)
                uniform(module.running_var, 1, 3)
                module.num_batches_tracked.fill_(5)
            elif isinstance(module, nn.Conv2d):
                normal(module.weight, (1.5 / module.weight[0].numel()) ** 0.5)
            elif isinstance(module, nn.Linear):
                normal(module.weight, 0.05)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                normal(module.bias, 0.3)
    return model


def _patchwork(*, seed: int) -> torch.Tensor:
    """Two images that differ after pooling, too: patches, a colour of their own, and noise."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*sides: int) -> torch.Tensor:
        return torch.randn(2, 3, *sides, generator=generator)

    return nn.functional.interpolate(noise(7, 7), scale_factor=32) + noise(1, 1) + 0.3 * noise(224, 224)


def _largest_difference(model: nn.Module, images: np.ndarray, expected: np.ndarray) -> float:
    # Logits that hardly vary, or not with the image, would agree whatever the weights are.
    assert expected.shape == (2, 1000)
    deviation, between_images = expected.std(), np.abs(expected[0] - expected[1]).mean()
    print(f"logits: deviation {deviation:.2f}, between images {between_images:.2f}")
    assert 0.5 < deviation < 50
    assert between_images > 200 * TOLERANCE
    with torch.no_grad():
        return float(np.abs(model(torch.from_numpy(images)).numpy() - expected).max())
