from pathlib import Path

import pytest
import torch

from ghostclas.training import resolve_config, train
from tests.colours import colour_bundle
from tests.ssld.tinted import tinted
from tests.training.photos import photo_folder
from tests.training.runs import SETTINGS, WHOLE


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> None:
    """Networks this small spend their time waiting for threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="package")
def teacher(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows the classes of the photos."""
    config = resolve_config("scratch", [*SETTINGS, *WHOLE], {"data": {"path": str(folder)}})
    return train(config=config, output=tmp_path_factory.mktemp("runs") / "teacher").path


@pytest.fixture
def colours(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A teacher of three colours, labelled images of them, and a pool of 5 red, 3 green and 1 blue one."""
    bundle = colour_bundle(tmp_path / "teacher").path
    seed = 0
    for split, each in (("train", 3), ("val", 2)):
        for name in ("red", "green", "blue"):
            for number in range(each):
                seed += 1
                tinted(tmp_path / "data" / split / name / f"{number}.png", name, 200, seed)
    for number, name in enumerate(["red"] * 5 + ["green"] * 3 + ["blue"]):
        seed += 1
        tinted(tmp_path / "pool" / "any" / "depth" / f"{number}.png", name, 250 - 20 * number, seed)
    return bundle, tmp_path / "data", tmp_path / "pool"
