import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> None:
    """Networks this small spend their time waiting for threads."""
    torch.set_num_threads(1)
