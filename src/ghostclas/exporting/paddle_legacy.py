"""Paddle's former file format, as PaddleClas exports it: ``paddle_legacy/inference.pdmodel``.

Paddle Lite, FastDeploy, OpenVINO and Paddle 2 read it. It takes float planes that the caller has normalised,
``[N, 3, H, W]``, as every program of PaddleClas does; ``inference.yml`` says how. So it drops into a
deployment of theirs. It gives logits, or probabilities where ``softmax`` is asked for.

No engine here runs it, so the manifest names no input. The converter compares it with the bundle's reference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle
from ghostclas.engines.paddle import import_paddle, open_predictor, run_predictor
from ghostclas.errors import ExportError
from ghostclas.exporting.conversion import Conversion, Written
from ghostclas.exporting.paddle_program import write_program
from ghostclas.extras import require
from ghostclas.imaging import softmax
from ghostclas.spec import PreprocessSpec
from ghostclas.verification import logit_differences

FOLDER = "paddle_legacy"
TOLERANCE = 1e-4


def convert(job: Conversion) -> list[Written]:
    """Write the network as PaddleClas exports one."""
    # Paddle reads it once, when it is imported.
    os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112 - its name
    folder = job.folder / FOLDER
    folder.mkdir()
    source = job.onnx_file
    scores = bool(job.options.get("softmax"))
    job.step("translating the graph to a Paddle program")
    write_program(source, folder / "inference", normalised_planes=True, softmax=scores)
    job.step("comparing it with the reference")
    compare(job.bundle, folder / "inference", scores)
    job.step("writing inference.yml")
    yaml = require("yaml", extra="paddle")
    text = yaml.safe_dump(inference_config(job.bundle), sort_keys=False, allow_unicode=True)
    (folder / "inference.yml").write_text(text, encoding="utf-8")
    names = ("inference.pdmodel", "inference.pdiparams", "inference.yml")
    return [Written(path=f"{FOLDER}/{name}") for name in names]


def normalised_planes(images: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.float32]:
    """Return photos ``[N, H, W, 3]`` as PaddleClas' programs take them, float32 ``[N, 3, H, W]``."""
    mean, std = (np.array(values, np.float32) for values in (spec.mean, spec.std))
    normalised = (images.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def compare(bundle: Bundle, prefix: Path, scores: bool) -> None:
    """Run the program on the bundle's reference images.

    Raises:
        ExportError: it answers differently.
    """
    program, parameters = (prefix.with_suffix(suffix) for suffix in (".pdmodel", ".pdiparams"))
    predictor = open_predictor(import_paddle().inference, program, parameters, threads=1)
    reference = bundle.reference()
    found = run_predictor(predictor, normalised_planes(reference.pixels, bundle.preprocess))
    wanted = softmax(reference.logits) if scores else reference.logits
    allowed = TOLERANCE * max(1.0, float(reference.logits.std()))
    difference = float(logit_differences(found, wanted).max())
    if not difference <= allowed:
        raise ExportError(
            f"the program answers differently, by up to {difference:.2g} ({allowed:.2g} allowed)"
        )


def inference_config(bundle: Bundle) -> dict[str, Any]:
    """Return ``inference.yml``: the preprocessing that a deployment carries out, and the classes.

    Deployments resize in their own way; where the bundle's resize is antialiased, this names Pillow's.
    """
    before = bundle.preprocess
    if before.resize.size is None:
        scaled: dict[str, Any] = {"resize_short": before.resize.short_side}
    else:
        scaled = {"size": list(before.resize.size)}
    scaled["interpolation"] = before.resize.interpolation
    scaled["backend"] = "cv2" if before.resize.library == "opencv" else "pil"
    return {
        "Global": {"model_name": bundle.name},
        "PreProcess": {
            "transform_ops": [
                {"ResizeImage": scaled},
                {"CropImage": {"size": before.crop}},
                {
                    "NormalizeImage": {
                        "scale": 1 / 255,
                        "mean": list(before.mean),
                        "std": list(before.std),
                        "order": "",
                        "channel_num": 3,
                    }
                },
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {"Topk": {"topk": min(5, len(bundle.classes)), "label_list": list(bundle.classes)}},
    }
