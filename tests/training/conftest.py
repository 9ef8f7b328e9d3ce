from pathlib import Path

import pytest
import torch

from ghostclas.training import train
from tests.training.photos import photo_folder
from tests.training.runs import WHOLE, settings


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> None:
    """Networks this small spend their time waiting for threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="package")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    return train(config=settings(folder, *WHOLE), output=output).path
