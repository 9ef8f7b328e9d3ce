"""Weights of the real PaddleClas and timm networks give the same logits in GhostNet."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from ghostclas.loading import load_state, load_weights
from ghostclas.models import create_model
from ghostclas.spec import FlavourName, ModelSpec
from ghostclas.zoo import ZOO, resolve_spec
from tests.models.parity import (
    TOLERANCE,
    assert_logits_of_timm,
    largest_difference,
    patchwork,
    randomised,
    slow,
)

ROOT = Path(__file__).parents[2]
REFERENCE_SCRIPT = ROOT / "tests" / "parity" / "paddle_reference.py"
PADDLE_VARIABLE = "GHOSTCLAS_PADDLE_PYTHON"


@pytest.fixture(scope="session")
def paddle_python() -> Path:
    """A Python with paddlepaddle and paddleclas, outside of this process: Paddle and torch do not mix."""
    python = Path(os.environ.get(PADDLE_VARIABLE) or ROOT / ".venvs" / "paddle" / "bin" / "python")
    if not python.is_file():
        pytest.skip(f"no {python}; set {PADDLE_VARIABLE} to a Python with paddlepaddle and paddleclas")
    probe = "from importlib.util import find_spec as f; exit(not (f('paddle') and f('paddleclas')))"
    if subprocess.run([python, "-c", probe], env=clean_environment(), check=False).returncode:
        pytest.skip(f"{python} has no paddlepaddle or no paddleclas")
    return python


@pytest.mark.parametrize(
    "network",
    ["GhostNet_x0_5", pytest.param("GhostNet_x1_0", marks=slow), pytest.param("GhostNet_x1_3", marks=slow)],
)
def test_paddleclas_weights_give_the_logits_of_paddleclas(
    network: str, paddle_python: Path, tmp_path: Path
) -> None:
    command = [str(paddle_python), str(REFERENCE_SCRIPT), network, str(tmp_path)]
    ran = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    reference = np.load(tmp_path / "reference.npz")
    spec = resolve_spec(network)
    for figure in ("parameters", "state_values", "macs"):
        assert reference[figure] == getattr(ZOO[spec.name], figure), figure

    model = create_model(spec).eval()
    load_weights(model, tmp_path / "weights_p4.pdparams")
    difference = largest_difference(model, reference["images"], reference["logits"])
    print(f"{network}: largest difference {difference:.2e}")
    assert difference <= TOLERANCE

    newest = load_state(tmp_path / "weights_p4.pdparams")
    for protocol in (2, 3):
        state = load_state(tmp_path / f"weights_p{protocol}.pdparams")
        assert list(state) == list(newest)
        assert all(torch.equal(state[name], newest[name]) for name in state)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("ghostnet_050", ".safetensors"), ("ghostnet_100", ".pth"), ("ghostnet_130", ".safetensors")],
)
def test_timm_weights_give_the_logits_of_timm(name: str, suffix: str, tmp_path: Path) -> None:
    assert_logits_of_timm(name, suffix, tmp_path)


def test_the_original_file_with_its_wrapper_and_profiler_counters_loads(tmp_path: Path) -> None:
    """Huawei's own file has timm's names, under DataParallel and with what the FLOP counter left behind."""
    theirs = randomised(timm.create_model("ghostnet_050", pretrained=False), seed=5).eval()
    original = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    for counter in ("total_ops", "total_params", "blocks.0.0.ghost1.total_ops", "conv_head.total_params"):
        original[f"module.{counter}"] = torch.zeros(1, dtype=torch.float64)
    file = tmp_path / "state_dict_73.98.pth"
    torch.save({"state_dict": original, "epoch": 1}, file)

    model = create_model(resolve_spec("ghostnet_0.5x")).eval()
    load_weights(model, file)
    images = patchwork(seed=4)
    with torch.no_grad():
        assert largest_difference(model, images.numpy(), theirs(images).numpy()) <= TOLERANCE


@pytest.mark.parametrize("flavour", ["paddleclas", "original"])
def test_our_own_weights_survive_safetensors_and_checkpoint_unchanged(
    flavour: FlavourName, tmp_path: Path
) -> None:
    spec = ModelSpec(name="ours", width=0.35, flavour=flavour, num_classes=7)
    source = randomised(create_model(spec), seed=2)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    torch.save({"schema": 1, "model": source.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    for path in (tmp_path / "weights.safetensors", tmp_path / "last.pt"):
        copy = create_model(spec)
        assert load_weights(copy, path) == ()
        for name, value in source.state_dict().items():
            assert torch.equal(copy.state_dict()[name], value), name


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.mark.parametrize("width", ["x0_2", "x0_5", "x1_0"])
def test_a_network_that_has_seen_few_batches_keeps_its_activations_in_range(width: str) -> None:
    """Its batch norms have not measured their inputs yet, and it must still be exported as it answers."""
    torch.manual_seed(0)
    network = create_model(resolve_spec(f"ghostnet_{width}"))
    images = torch.randn(4, 3, 64, 64)
    for _ in range(2):
        logits = network.eval()(images)
        assert logits.abs().max() < 16
        network.train()(images)
