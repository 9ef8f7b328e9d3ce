"""OpenVINO IR: ``model.xml`` and its weights, which OpenVINO converts from the ONNX graph.

It takes uint8 photos in a dynamic batch. ``fp16`` halves the weights on disk; the engine still computes in
float32. ``int8`` is the graph that ONNX Runtime quantizes; OpenVINO runs it faster than ONNX Runtime does.
"""

from __future__ import annotations

from ghostclas.exporting.conversion import Conversion, Written, features_output, image_input, logits_output
from ghostclas.exporting.onnx_file import quantize_file
from ghostclas.extras import require


def convert(job: Conversion) -> list[Written]:
    """Write the network as OpenVINO IR."""
    ov = require("openvino", extra="openvino")
    if job.precision == "int8":
        quantize_file(job)
    job.step("reading the ONNX graph with OpenVINO")
    model = ov.Core().read_model(str(job.onnx_file))
    job.step("writing the IR")
    graph, weights = (f"openvino/{job.name('model', suffix)}" for suffix in (".xml", ".bin"))
    (job.folder / "openvino").mkdir()
    ov.save_model(model, str(job.folder / graph), compress_to_fp16=job.precision == "fp16")
    return [
        Written(
            path=graph,
            input=image_input(job.crop),
            output=logits_output(job.num_classes),
            # int8 leaves out the second output, which would prevent rounding.
            features=None if job.precision == "int8" else features_output(job.feature_size),
        ),
        Written(path=weights),
    ]
