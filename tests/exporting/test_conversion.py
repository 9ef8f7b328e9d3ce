"""The input of a converter."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from ghostclas.bundle import Bundle
from ghostclas.exporting.conversion import (
    Conversion,
    features_output,
    image_input,
    logits_output,
    planar_input,
)


def test_ports_have_the_sizes_of_the_network() -> None:
    assert image_input(64).shape == (None, 64, 64, 3)
    assert planar_input(64).shape == (1, 3, 64, 64)
    assert logits_output(7).shape == (None, 7)
    assert features_output(None) is None


def test_the_network_is_loaded_once_and_only_when_it_is_asked_for(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    steps: list[str] = []

    def refuse() -> NoReturn:
        raise RuntimeError("isolated")

    job = Conversion(tiny_bundle, "fp16", tmp_path, steps.append, refuse, lambda path: path.touch())
    assert job.name("model", ".xml") == "model.fp16.xml"
    assert job.onnx_file.exists()
    assert job.onnx_file is job.onnx_file
    assert steps == ["reading the bundle's ONNX file"]
    with pytest.raises(RuntimeError, match="isolated"):
        _ = job.network
