"""A file of torch.save with its sha256 opens everywhere, and shows damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostclas.errors import BundleError
from ghostclas.weights.reading import read_weights
from ghostclas.weights.sealed import check_seal, seal


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"stem.conv.weight": torch.arange(4096.0)}, path)
    return path


def test_a_sealed_file_opens_as_one_without_a_seal_does(file: Path) -> None:
    check_seal(file)
    seal(file)
    check_seal(file)
    for mmap in (False, True):
        content = torch.load(file, weights_only=True, mmap=mmap)
        assert torch.equal(content["stem.conv.weight"], torch.arange(4096.0))


def test_a_changed_bit_is_noticed_before_weights_are_read(file: Path) -> None:
    seal(file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="does not have the sha256"):
        check_seal(file)
    with pytest.raises(BundleError, match=r"weights\.pt: not a complete file .*does not have the sha256"):
        read_weights(file)


def test_only_what_torch_wrote_is_sealed(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("short")
    with pytest.raises(ValueError, match=r"does not end as torch\.save ends a file"):
        seal(tmp_path / "text")
    check_seal(tmp_path / "text")
