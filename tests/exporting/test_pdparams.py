"""Weights for PaddleClas: its own networks load them, nothing missing, and answer as ours do."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas.bundle import Bundle
from ghostclas.errors import ExportError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.paddle_legacy import normalised_planes
from ghostclas.exporting.pdparams import to_pdparams
from ghostclas.families import GHOSTNET
from ghostclas.models.registry import create_model
from ghostclas.spec import PreprocessSpec
from ghostclas.weights.pdparams import parse_pdparams
from ghostclas.zoo import resolve_spec
from tests.exporting.added import present
from tests.models.parity import randomised

ROOT = Path(__file__).parents[2]
PADDLE = ROOT / ".venvs" / "paddle" / "bin" / "python"
LOADS = ROOT / "tests" / "parity" / "paddle_loads.py"

needs_paddleclas = pytest.mark.skipif(not PADDLE.is_file(), reason="PaddleClas is not installed")


@pytest.mark.parametrize(
    "name",
    ["ghostnet_x0_5", *(pytest.param(f"ghostnet_x1_{tenth}", marks=pytest.mark.slow) for tenth in (0, 3))],
)
@needs_paddleclas
def test_paddleclas_loads_them_with_nothing_missing(name: str, tmp_path: Path) -> None:
    network = randomised(create_model(resolve_spec(name, num_classes=7)), seed=2).eval()
    (layout,) = [layout for layout in GHOSTNET.weight_layouts if layout.publisher == "PaddleClas"]
    (tmp_path / "ours.pdparams").write_bytes(to_pdparams(network.state_dict(), layout))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    planes = normalised_planes(images, PreprocessSpec())
    np.save(tmp_path / "planes.npy", planes)
    paths = [str(tmp_path / file) for file in ("ours.pdparams", "planes.npy", "answer.npy")]
    theirs = name.replace("ghostnet", "GhostNet")
    subprocess.run([str(PADDLE), str(LOADS), theirs, "7", *paths], check=True, capture_output=True)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(planes)).numpy()
    assert wanted.std() > 0.1
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), wanted, rtol=0, atol=1e-4)


def test_they_are_a_plain_pickle_that_numpy_1_reads(full_bundle: Bundle) -> None:
    present(full_bundle, "pdparams")
    content = full_bundle.read("pdparams/ghostnet_x0_5.pdparams")
    assert b"numpy._core" not in content
    loaded = pickle.loads(content)
    ours = parse_pdparams(content)
    assert loaded.keys() - ours.keys() == {"StructuredToParameterName@@"}
    assert ours["conv1._conv.weight"].shape[1:] == (3, 3, 3)
    assert ours["fc_1.weight"].shape == (1280, 7)


def test_a_network_that_paddleclas_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle
) -> None:
    from ghostclas.exporting.pdparams import _layout

    for name in ("ghostnet_100", "ghostnetv2_100"):
        with pytest.raises(ExportError, match=f"PaddleClas has no network like {name}"):
            _layout(resolve_spec(name))
    add_format(tiny_bundle, "pdparams")


def test_names_are_translated_there_and_back() -> None:
    (layout,) = [layout for layout in GHOSTNET.weight_layouts if layout.publisher == "PaddleClas"]
    for name in create_model(resolve_spec("ghostnet_x0_5")).state_dict():
        assert layout.translate(layout.theirs(name)) == name
