"""The table of docs/from-paddleclas.md: each command runs, in the order of the rows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from ghostclas.bundle import Bundle, copy_bundle
from ghostclas.cli import main
from ghostclas.engines.table import is_installed
from tests.training.photos import photo_folder

PAGE = Path(__file__).parents[1] / "docs" / "from-paddleclas.md"
NEEDS = {
    "--format paddle": ["paddle"],
    "--engine paddle": ["paddle"],
    "paddle2onnx": ["paddle", "paddle2onnx"],
    "paddlelite": ["paddle"],
    "ghostclas import": ["paddle", "paddle2onnx"],
}
THEIRS = {
    "Global": {"epochs": 1, "image_shape": [3, 64, 64]},
    "Arch": {"name": "GhostNet_x0_2"},
    "Optimizer": {"name": "Momentum", "lr": {"name": "Cosine", "learning_rate": 0.1}},
    "DataLoader": {"Train": {"sampler": {"batch_size": 8}}},
}


def commands() -> list[str]:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [command for row in rows for command in re.findall(r"`(ghostclas [^`]+)`", row)]


def test_the_table_has_every_verb_of_the_way_over() -> None:
    verbs = {shlex.split(command)[1] for command in commands()}
    assert verbs >= {"convert-config", "train", "eval", "predict", "export", "import", "serve"}


@pytest.mark.slow
def test_each_row_runs(small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = photo_folder(tmp_path / "photos")
    for part in (photos / "train", photos / "val"):
        for label, name in enumerate(small_bundle.classes[:3]):
            (part / str(label)).rename(part / name)
    shutil.copyfile(next((photos / "val").rglob("*.png")), tmp_path / "photo.jpg")
    copy_bundle(small_bundle, tmp_path / "runs" / "flowers" / "bundle")
    (tmp_path / "GhostNet_x1_0.yaml").write_text(yaml.safe_dump(THEIRS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ran = []
    for command in commands():
        words = shlex.split(command)[1:]
        packages = [name for key, names in NEEDS.items() if key in command for name in names]
        if words[0] == "serve" or not all(map(is_installed, packages)):
            continue
        if "paddlelite" in command and not os.environ.get("GHOSTCLAS_PADDLELITE_PYTHON"):
            continue
        assert main(words) == 0, command
        ran.append(command)
    assert len(ran) >= 6
    if is_installed("paddle2onnx") and is_installed("paddle"):
        assert Bundle.open("imported").classes == small_bundle.classes
