"""MNN, Alibaba's runtime for phones: one file that MNN's converter makes from the ONNX graph.

It takes uint8 photos in a dynamic batch. ``fp16`` halves the weights on disk; the engine still computes in
float32.

The converter is called inside its library. Its command line, ``mnnconvert``, installs a telemetry package
with pip and reports to a server (seen in MNN 3.6.1); nothing here runs it.
"""

from __future__ import annotations

from ghostclas.exporting.conversion import Conversion, Written, image_input, logits_output
from ghostclas.exporting.onnx_file import without_features
from ghostclas.extras import require


def convert(job: Conversion) -> list[Written]:
    """Write the network for MNN."""
    require("MNN", extra="mnn")
    tools = require("_tools", extra="mnn")
    job.step("converting with MNN's converter")
    path = job.name("model", ".mnn")
    plain = job.folder / "logits.onnx"
    onnx = require("onnx", extra="export")
    onnx.save_model(without_features(onnx.load_model(job.onnx_file)), plain)
    arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(plain)]
    arguments += ["--MNNModel", str(job.folder / path), "--bizCode", "ghostclas"]
    tools.mnnconvert(arguments + ["--fp16"] * (job.precision == "fp16"))
    if not (job.folder / path).is_file():
        raise RuntimeError(f"the converter ended without writing {path}")
    return [Written(path=path, input=image_input(job.crop), output=logits_output(job.num_classes))]
