"""A real bundle that names the colour of a photo, and folders of such photos: every answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ghostclas.bundle import Bundle, FileContent, TensorSpec, write_bundle
from ghostclas.spec import ModelSpec, PostprocessSpec, PreprocessSpec, ResizeSpec

SIDE = 32
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "yellow": (1, 1, 0),
}
THREE = ("red", "green", "blue")


def colour_bundle(
    target: Path,
    classes: Sequence[str] = THREE,
    *,
    says: Mapping[str, str] | None = None,
    sharpness: float = 4.0,
    temperature: float = 1.0,
) -> Bundle:
    """Write a bundle whose logit of a class is ``sharpness`` times how much of its colour the photo has.

    ``says`` names, for a class, the colour that it is taken to be: ``{"red": "green", "green": "red"}`` is a
    model that mixes the two up.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    colours = np.array([COLOURS[(says or {}).get(name, name)] for name in classes], np.float32)
    # 2c - 1: a class gains from every channel that it has and loses from every one that it has not.
    weights = (sharpness / 255 * (2 * colours - 1)).T
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(classes)])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    content = FileContent(
        model.SerializeToString(),
        format="onnx",
        input=TensorSpec(name="images", dtype="uint8", layout="NHWC", shape=(None, SIDE, SIDE, 3)),
        output=TensorSpec(name="logits", dtype="float32", layout="NC", shape=(None, len(classes))),
    )
    return write_bundle(
        target,
        name=target.name,
        spec=ModelSpec(name="colours", num_classes=len(classes)),
        classes=classes,
        preprocess=PreprocessSpec(resize=ResizeSpec(short_side=SIDE), crop=SIDE),
        postprocess=PostprocessSpec(temperature=temperature),
        files={"model.onnx": content},
    )


def colour_photo(path: Path, colour: str, *, strength: int = 255) -> Path:
    """Write a PNG of one colour; its other channels stay black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), tuple(strength * part for part in COLOURS[colour])).save(path, "PNG")
    return path


def colour_folder(root: Path, photos: Mapping[str, Sequence[str]]) -> Path:
    """Write ``root/<class>/<number>.png`` of the colours listed for each class."""
    for name, colours in photos.items():
        for number, colour in enumerate(colours):
            colour_photo(root / name / f"{number}.png", colour)
    return root
