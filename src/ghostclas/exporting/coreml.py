"""Core ML: ``model.mlpackage`` for Apple's devices, made by coremltools from a traced network.

It takes one RGB image; normalisation is in the graph. Any system can convert it and read its description, but
only macOS can run it, so no engine here reads it.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ghostclas.exporting.conversion import INPUT, LOGITS, Conversion, Written, image_input, logits_output
from ghostclas.exporting.network import Planar
from ghostclas.extras import require

MANIFEST = "Manifest.json"


def convert(job: Conversion) -> list[Written]:
    """Write the network as an ML program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ct = require("coremltools", extra="export-coreml")
        job.step("tracing the network with torch.jit")
        example = torch.zeros(1, 3, job.crop, job.crop)
        trace: Any = torch.jit.trace
        traced = trace(Planar(job.network).eval(), (example,))
        job.step("converting with coremltools")
        half = job.precision == "fp16"
        image = ct.ImageType(INPUT, tuple(example.shape), color_layout=ct.colorlayout.RGB)
        model = ct.convert(
            traced,
            inputs=[image],
            outputs=[ct.TensorType(LOGITS)],
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS15,
        )
    package = job.folder / job.name("model", ".mlpackage")
    job.step("writing the package")
    model.save(str(package))
    job.step("checking its description")
    _check(model.get_spec(), job)
    paths = sorted(path for path in package.rglob("*") if path.is_file())
    names = [path.relative_to(job.folder).as_posix() for path in paths]
    main = f"{package.name}/{MANIFEST}"
    described = Written(
        path=main, input=image_input(job.crop, batch=1), output=logits_output(job.num_classes, batch=1)
    )
    return [described, *(Written(path=name) for name in names if name != main)]


def _check(spec: Any, job: Conversion) -> None:
    description = spec.description
    (photo,), (logits,) = description.input, description.output
    size = (photo.type.imageType.height, photo.type.imageType.width)
    shape = tuple(logits.type.multiArrayType.shape)
    if size != (job.crop, job.crop) or shape != (1, job.num_classes):
        raise RuntimeError(f"the package takes images of {size} and gives {shape}")
