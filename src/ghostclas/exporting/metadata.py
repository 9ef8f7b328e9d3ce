"""What an exported file says of itself, for those who have the file and not its bundle. Needs no torch.

An ``.onnx`` holds the texts as ``metadata_props``. A ``.tflite`` has a zip behind its graph, as TensorFlow
Lite keeps associated files: ``metadata.json`` with the same texts, and ``labels.txt``. The temperature is not
among them, since it may be fitted later: it is in the manifest.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostclas.extras import require
from ghostclas.spec import PreprocessSpec

DESCRIPTION = "metadata.json"
LABELS = "labels.txt"


def describe(classes: Sequence[str], preprocess: PreprocessSpec) -> dict[str, str]:
    """Return the texts: names of the classes, size, preprocessing, and who normalises.

    ``classes`` is a JSON list in the order of the logits. ``preprocess`` is JSON as in the manifest without
    ``mean`` and ``std``, which are no part of what a caller does.
    """
    side = preprocess.crop
    steps = preprocess.model_dump(mode="json", exclude={"mean", "std"}, exclude_none=True)
    return {
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "size": str(side),
        "input": f"uint8 RGB, [N, {side}, {side}, 3], values 0 to 255: the pixels themselves",
        "preprocess": json.dumps(steps),
        "normalisation": (
            "inside this graph, which divides by 255, subtracts the mean "
            f"{_listed(preprocess.mean)} and divides by the standard deviation {_listed(preprocess.std)}: "
            "do not normalise the input"
        ),
        "output": "logits; scores are softmax(logits divided by the temperature in the manifest)",
    }


def describe_onnx(proto: Any, texts: Mapping[str, str]) -> None:
    """Put the texts into an ``onnx.ModelProto``, in place of those of the same names."""
    kept = [(entry.key, entry.value) for entry in proto.metadata_props if entry.key not in texts]
    del proto.metadata_props[:]
    for key, value in (*kept, *texts.items()):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value


def described_onnx(content: bytes, texts: Mapping[str, str]) -> bytes:
    """Return the ``.onnx`` with these texts."""
    onnx = require("onnx", extra="export")
    proto = onnx.load_model_from_string(content)
    describe_onnx(proto, texts)
    described: bytes = proto.SerializeToString(deterministic=True)
    return described


def describe_tflite(path: Path, texts: Mapping[str, str]) -> None:
    """Append the texts to a ``.tflite``, which any reader of zip files shows; the graph stays as it is."""
    classes = json.loads(texts["classes"])
    contents = {
        DESCRIPTION: json.dumps(dict(texts), ensure_ascii=False, indent=1) + "\n",
        LABELS: "".join(f"{' '.join(name.split())}\n" for name in classes),
    }
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, text in contents.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), text.encode())


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
