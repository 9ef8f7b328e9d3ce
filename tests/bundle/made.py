"""Small bundles and what changes them, for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.bundle import Bundle, FileContent, Reference, TensorSpec, write_bundle
from ghostclas.errors import BundleError
from ghostclas.spec import ModelSpec, PreprocessSpec, ResizeSpec

CLASSES = ("tabby, tabby cat", "小狗", "acorn")
INPUT = TensorSpec(name="images", dtype="uint8", layout="NHWC", shape=(None, 32, 32, 3))
OUTPUT = TensorSpec(name="logits", dtype="float32", layout="NC", shape=(None, len(CLASSES)))


def model(content: bytes | Path = b"a model " * 100, **changes: Any) -> FileContent:
    fields: dict[str, Any] = {"format": "onnx", "input": INPUT, "output": OUTPUT}
    return FileContent(content, **fields | changes)


def a_reference(side: int = 32, classes: int = len(CLASSES)) -> Reference:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    return Reference(
        [b"\xff\xd8 one", b"\xff\xd8 another"], pixels, rng.normal(size=(2, classes)).astype("f4")
    )


def write(target: Path, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "name": "a model",
        "spec": ModelSpec(name="ghostnet_x0_5", num_classes=len(CLASSES)),
        "classes": CLASSES,
        "preprocess": PreprocessSpec(resize=ResizeSpec(short_side=36), crop=32),
        "files": {
            "model.onnx": model(),
            "weights.safetensors": FileContent(b"weights", "weights"),
            "reference.safetensors": FileContent(a_reference().to_bytes(), "reference"),
        },
        "provenance": {"recipe": "none", "seed": 1},
    }
    return write_bundle(target, **fields | changes)


def assert_one_sentence(error: BundleError, path: Path) -> None:
    assert str(error).startswith(f"{path}: ")
    assert "\n" not in str(error)
