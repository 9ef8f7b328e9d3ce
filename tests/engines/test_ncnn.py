"""ncnn files that are no longer written still run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.bundle import FileContent, TensorSpec, write_bundle
from ghostclas.engines import installed_engines, open_engine
from ghostclas.spec import ModelSpec, PreprocessSpec, ResizeSpec

SIDE = 32
INT8 = (0x000D4B38).to_bytes(4, "little")
"""How ncnn marks weights of 8 bits."""


@pytest.mark.skipif("ncnn" not in installed_engines(), reason="ncnn is not installed")
def test_an_int8_file_of_former_times_runs(tmp_path: Path) -> None:
    weights = np.array([[127, 0, 0], [0, -127, 64]], np.int8)
    bias = np.array([0.5, -1.0], np.float32)
    # What a weight and a pixel are multiplied by to become 8 bits.
    weight_scales, input_scale = np.array([127, 254], np.float32), np.array([0.5], np.float32)
    graph = [
        "7767517",
        "3 3",
        "Input in0 0 1 in0",
        "Pooling pool 1 1 in0 pooled 0=1 4=1",
        f"InnerProduct fc 1 1 pooled out0 0=2 1=1 2={weights.size} 8=2",
    ]
    padding = b"\0" * (-weights.size % 4)
    content = (
        INT8 + weights.tobytes() + padding + bias.tobytes() + weight_scales.tobytes() + input_scale.tobytes()
    )
    bundle = write_bundle(
        tmp_path / "bundle",
        name="mean",
        spec=ModelSpec(name="mean", num_classes=2),
        classes=("a", "b"),
        preprocess=PreprocessSpec(resize=ResizeSpec(short_side=SIDE), crop=SIDE),
        files={
            "ncnn/model.int8.param": FileContent(
                ("\n".join(graph) + "\n").encode(),
                "ncnn",
                "int8",
                TensorSpec(name="in0", dtype="float32", layout="NCHW", shape=(1, 3, SIDE, SIDE)),
                TensorSpec(name="out0", dtype="float32", layout="NC", shape=(1, 2)),
            ),
            "ncnn/model.int8.bin": FileContent(content, "ncnn", "int8"),
        },
    )
    engine = open_engine("ncnn", bundle, precision="int8")
    photo = np.empty((1, SIDE, SIDE, 3), np.uint8)
    photo[:] = (100, 50, 200)
    wanted = photo[0, 0, 0] @ (weights / weight_scales[:, None]).T + bias
    np.testing.assert_allclose(engine.run(photo)[0], wanted, rtol=0.02)
    engine.close()
